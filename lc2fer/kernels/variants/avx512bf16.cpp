#include "../isa/avx512bf16.h"

namespace lc2fer {
namespace {
using Isa = Avx512Bf16;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels avx512bf16_bf16;
const Kernels avx512bf16_bf16 = KERNELS<Isa::Halves>;
}  // namespace lc2fer
