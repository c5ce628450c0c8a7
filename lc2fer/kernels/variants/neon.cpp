#include "../isa/neon.h"

namespace lc2fer {
namespace {
using Isa = Neon;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
void neon_depthwise(const BlockNumbers& its, const float* x, int pixel, int count, float* out) {
    depthwise(its, x, pixel, count, out);
}

extern const Kernels neon_int8, neon_bf16, neon_fp32;
const Kernels neon_int8 = KERNELS<Isa::Bytes>;
const Kernels neon_bf16 = KERNELS<RoundedFloats>;
const Kernels neon_fp32 = KERNELS<Floats>;
}  // namespace lc2fer
