#include "../isa/avxvnni.h"

namespace lc2fer {
namespace {
using Isa = AvxVnni;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels avxvnni_int8;
const Kernels avxvnni_int8 = KERNELS<Isa::Bytes>;
}  // namespace lc2fer
