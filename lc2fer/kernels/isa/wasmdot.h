// Products of bytes by the dot product of WebAssembly's relaxed SIMD.
#pragma once

#include "wasm.h"

namespace lc2fer {
namespace {

struct WasmDot : Wasm {
    // Rows signed, as SDOT has them, or unsigned with zero-point 128, as VPDPBUSD: a sum's start takes it back.
    template <bool UNSIGNED>
    struct Dots : Bytes {
        using Value = uint8_t;
        static constexpr int STEP = 4, ROWS = 2, WEIGHT_BYTES = 1;
        static constexpr auto pack = copy_weights<WEIGHT_BYTES>;

        static INLINE Sum start(const int32_t* from) {
            return UNSIGNED ? wasm_v128_load(from) : wasm_i32x4_const_splat(0);
        }
        static INLINE Row row(const Value* from) { return wasm_v128_load32_splat(from); }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(weight, row, sum);
        }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {
            const Reg bytes = wasm_i8x16_narrow_i16x8(words(x.part[0], x.part[1]), words(x.part[2], x.part[3]));
            wasm_v128_store(to, wasm_v128_xor(bytes, wasm_i8x16_splat(UNSIGNED ? char(0x80) : 0)));
        }
    };
};

}  // namespace
}  // namespace lc2fer
