#include "../isa/generic.h"

namespace lc2fer {
namespace {
using Isa = Generic;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant generic;
const Variant generic = {"generic", {&KERNELS<Isa::Bytes>, &KERNELS<RoundedFloats>, &KERNELS<Floats>}};
}  // namespace lc2fer
