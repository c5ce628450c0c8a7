#include "../isa/generic.h"

namespace lc2fer {
namespace {
using Isa = Generic;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
void generic_depthwise(const BlockNumbers& its, const float* x, int pixel, int count, float* out) {
    depthwise(its, x, pixel, count, out);
}

extern const Kernels generic_int8, generic_bf16, generic_fp32;
const Kernels generic_int8 = KERNELS<Isa::Bytes>;
const Kernels generic_bf16 = KERNELS<RoundedFloats>;
const Kernels generic_fp32 = KERNELS<Floats>;
}  // namespace lc2fer
