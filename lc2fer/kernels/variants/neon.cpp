#include "../isa/neon.h"

namespace lc2fer {
namespace {
using Isa = Neon;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels neon_int8, neon_bf16, neon_fp32;
const Kernels neon_int8 = KERNELS<Isa::Bytes>;
const Kernels neon_bf16 = KERNELS<RoundedFloats>;
const Kernels neon_fp32 = KERNELS<Floats>;
}  // namespace lc2fer
