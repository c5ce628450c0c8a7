#include "../isa/amx.h"

namespace lc2fer {
namespace {
using Isa = Amx;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant amx;
const Variant amx = {"amx", {&KERNELS<Isa::Bytes>, nullptr, nullptr}};
}  // namespace lc2fer
