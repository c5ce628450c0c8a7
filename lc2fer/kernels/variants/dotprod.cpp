#include "../isa/dotprod.h"

namespace lc2fer {
namespace {
using Isa = Dotprod;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels dotprod_int8;
const Kernels dotprod_int8 = KERNELS<Isa::Bytes>;
}  // namespace lc2fer
