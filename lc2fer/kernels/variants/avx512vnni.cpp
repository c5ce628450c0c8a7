#include "../isa/avx512vnni.h"

namespace lc2fer {
namespace {
using Isa = Avx512Vnni;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels avx512vnni_int8;
const Kernels avx512vnni_int8 = KERNELS<Isa::Bytes>;
}  // namespace lc2fer
