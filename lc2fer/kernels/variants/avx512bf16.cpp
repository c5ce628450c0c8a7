#include "../isa/avx512.h"

namespace lc2fer {
namespace {
using Isa = Avx512;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant avx512bf16;
const Variant avx512bf16 = {"avx512bf16", {nullptr, &KERNELS<Isa::Halves>, nullptr}};
}  // namespace lc2fer
