#include "../isa/avx2.h"

namespace lc2fer {
namespace {
using Isa = Avx2;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
void avx2_depthwise(const BlockNumbers& its, const float* x, int pixel, int count, float* out) {
    depthwise(its, x, pixel, count, out);
}

extern const Kernels avx2_int8, avx2_bf16, avx2_fp32;
const Kernels avx2_int8 = KERNELS<Isa::Bytes>;
const Kernels avx2_bf16 = KERNELS<RoundedFloats>;
const Kernels avx2_fp32 = KERNELS<Floats>;
}  // namespace lc2fer
