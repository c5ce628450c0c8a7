#include "../isa/dotprod.h"

namespace lc2fer {
namespace {
using Isa = Dotprod;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant dotprod;
const Variant dotprod = {"dotprod", {&KERNELS<Isa::Bytes>, nullptr, nullptr}};
}  // namespace lc2fer
