#include "../isa/i8mm.h"

namespace lc2fer {
namespace {
using Isa = I8mm;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant i8mm;
const Variant i8mm = {"i8mm", {&KERNELS<Isa::Bytes>, nullptr, nullptr}};
}  // namespace lc2fer
