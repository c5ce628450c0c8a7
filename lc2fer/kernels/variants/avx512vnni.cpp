#include "../isa/avx512.h"

namespace lc2fer {
namespace {
using Isa = Avx512;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
extern const Variant avx512vnni;
const Variant avx512vnni = {"avx512vnni", {&KERNELS<Isa::Bytes>, nullptr, nullptr}};
}  // namespace lc2fer
