#include "../isa/avxvnni.h"

namespace lc2fer {
namespace {
using Isa = AvxVnni;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant avxvnni;
const Variant avxvnni = {"avxvnni", {&KERNELS<Isa::Bytes>, nullptr, nullptr}};
}  // namespace lc2fer
