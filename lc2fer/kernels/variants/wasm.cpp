#include "../isa/wasmdot.h"

namespace lc2fer {
namespace {
using Isa = WasmDot;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {
void wasm_depthwise(const BlockNumbers& its, const float* x, int pixel, int count, float* out) {
    depthwise(its, x, pixel, count, out);
}

extern const Kernels wasm_int8, wasmsdot_int8, wasmudot_int8, wasm_fp32;
const Kernels wasm_int8 = KERNELS<Isa::Bytes>;
const Kernels wasmsdot_int8 = KERNELS<Isa::Dots<false>>;
const Kernels wasmudot_int8 = KERNELS<Isa::Dots<true>>;
const Kernels wasm_fp32 = KERNELS<Floats>;
}  // namespace lc2fer
