#include "../isa/i8mm.h"

namespace lc2fer {
namespace {
using Isa = I8mm;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Kernels i8mm_int8;
const Kernels i8mm_int8 = KERNELS<Isa::Bytes>;
}  // namespace lc2fer
