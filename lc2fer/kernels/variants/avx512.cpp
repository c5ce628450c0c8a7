#include "../isa/avx512.h"

namespace lc2fer {
namespace {
using Isa = Avx512;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
void avx512_depthwise(const BlockNumbers& its, const float* x, int pixel, int count, float* out) {
    depthwise(its, x, pixel, count, out);
}

extern const Kernels avx512_bf16, avx512_fp32;
const Kernels avx512_bf16 = KERNELS<RoundedFloats>;
const Kernels avx512_fp32 = KERNELS<Floats>;
}  // namespace lc2fer
