#include "../isa/avx512.h"

namespace lc2fer {
namespace {
using Isa = Avx512;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant avx512;
const Variant avx512 = {"avx512", {nullptr, &KERNELS<RoundedFloats>, &KERNELS<Floats>}};
}  // namespace lc2fer
