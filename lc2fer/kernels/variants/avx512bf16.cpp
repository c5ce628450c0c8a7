#include "../isa/avx512.h"

namespace lc2fer {
namespace {
using Isa = Avx512;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels avx512bf16_bf16;
const Kernels avx512bf16_bf16 = KERNELS<Isa::Halves>;
}  // namespace lc2fer
