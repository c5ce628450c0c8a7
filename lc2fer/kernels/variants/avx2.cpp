#include "../isa/avx2.h"

namespace lc2fer {
namespace {
using Isa = Avx2;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant avx2;
const Variant avx2 = {"avx2", {&KERNELS<Isa::Bytes>, &KERNELS<RoundedFloats>, &KERNELS<Floats>}};
}  // namespace lc2fer
