#include "../isa/amx.h"

namespace lc2fer {
namespace {
using Isa = Amx;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels amx_int8;
const Kernels amx_int8 = KERNELS<Isa::Bytes>;
}  // namespace lc2fer
