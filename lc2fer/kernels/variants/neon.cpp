#include "../isa/neon.h"

namespace lc2fer {
namespace {
using Isa = Neon;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant neon;
const Variant neon = {"neon", {&KERNELS<Isa::Bytes>, &KERNELS<RoundedFloats>, &KERNELS<Floats>}};
}  // namespace lc2fer
