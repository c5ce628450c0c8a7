// WebAssembly with relaxed SIMD, after dispatch.cpp tried what this browser's multiply-add and dot product do.
#pragma once

#include "../precision.h"

#include <wasm_simd128.h>

namespace lc2fer {

Depthwise wasm_depthwise;

namespace {

struct Wasm {
    static constexpr int W = 4, COLUMNS = 1, FLOAT_ROWS = 2, SPAN = 8, CHAINS = 2;
    static constexpr bool TABLES = true, FLOAT_LANED = false, INSIDE_APART = false;
    static constexpr auto depthwise = wasm_depthwise;
    using Reg = v128_t;
    struct Tail {};

    static INLINE Tail tail(int) { return {}; }
    static INLINE Reg load(const float* from) { return wasm_v128_load(from); }
    static INLINE Reg load(const float* from, Tail) { return wasm_v128_load(from); }
    static INLINE void store(float* to, Reg x) { wasm_v128_store(to, x); }
    static INLINE void store(float* to, Tail, Reg x) { wasm_v128_store(to, x); }
    static INLINE Reg all(float x) { return wasm_f32x4_splat(x); }
    static INLINE Reg add(Reg a, Reg b) { return wasm_f32x4_add(a, b); }
    static INLINE Reg mul(Reg a, Reg b) { return wasm_f32x4_mul(a, b); }
    static INLINE Reg fma(Reg a, Reg b, Reg c) { return wasm_f32x4_relaxed_madd(a, b, c); }
    static INLINE Reg max(Reg a, Reg b) { return wasm_f32x4_pmax(a, b); }  // one instruction on x86; max() is seven
    static INLINE Reg within(Reg x, Reg most, Reg least) { return max(wasm_f32x4_pmin(x, most), least); }
    static INLINE Reg div(Reg a, Reg b) { return wasm_f32x4_div(a, b); }
    static INLINE Reg root(Reg x) { return wasm_f32x4_sqrt(x); }
    static INLINE Reg fold(const Reg (&x)[4]) { return add(add(x[0], x[2]), add(x[1], x[3])); }
    template <int LEFT>
    static INLINE Reg halved(Reg a, Reg b) {
        if constexpr (LEFT == 4) return add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7));
        if constexpr (LEFT == 2) return add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
    }
    static INLINE void lines_of_4(const float* from, int stride, Reg (&to)[4]) {
        each<4>([&](auto i) INLINE { to[i] = load(from + i * stride); });
    }
    static INLINE void keep(uint16_t* to, Reg x) {  // half to even, by the last place of what is added
        const Reg sign = wasm_v128_and(x, wasm_i32x4_const_splat(int(0x80000000))), size = wasm_v128_xor(x, sign);
        const Reg exponent = wasm_v128_and(size, wasm_i32x4_const_splat(0x7f800000));
        const Reg least = wasm_i32x4_const_splat(0x38800000);  // of 2^-14: below are subnormals
        const Reg magic = wasm_i32x4_add(wasm_i32x4_max(exponent, least), wasm_i32x4_const_splat(13 << 23));
        const Reg near = mul(wasm_f32x4_sub(add(size, magic), magic), all(0x1p-112f));
        const Reg half = wasm_v128_or(wasm_u32x4_shr(near, 13), wasm_u32x4_shr(sign, 16));
        wasm_v128_store64_lane(to, wasm_u16x8_narrow_i32x4(half, half), 0);
    }
    static INLINE void keep(float* to, Reg x) { store(to, x); }
    static INLINE Reg kept(const uint16_t* from) {
        const Reg half = wasm_i32x4_load16x4(reinterpret_cast<const int16_t*>(from));
        const Reg size = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_const_splat(0x7fff)), 13);
        return wasm_v128_or(mul(size, all(0x1p112f)), wasm_v128_and(half, wasm_i32x4_const_splat(int(0x80000000))));
    }
    static INLINE Reg kept(const float* from) { return load(from); }

    static INLINE Reg words(Reg a, Reg b) {  // half to even, clipped to 16 bits
        const auto whole = [](Reg x) INLINE { return wasm_i32x4_relaxed_trunc_f32x4(wasm_f32x4_nearest(x)); };
        return wasm_i16x8_narrow_i32x4(whole(a), whole(b));
    }

    struct Bytes : Short {  // as words of 16 bits
        using Value = int16_t;
        using Sum = v128_t;
        using Row = v128_t;
        using Weight = v128_t;
        static constexpr int STEP = 2, ROWS = 2, WEIGHT_BYTES = 2;
        static constexpr auto pack = pack_bytes<int16_t, STEP>;

        static INLINE Sum start(const int32_t*) { return wasm_i32x4_const_splat(0); }
        static INLINE Weight weight(const uint8_t* from) { return wasm_v128_load(from); }
        static INLINE Row row(const Value* from) { return wasm_v128_load32_splat(from); }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(row, weight));
        }
        static INLINE Reg floats(Sum sum) { return wasm_f32x4_convert_i32x4(sum); }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {
            const Reg least = wasm_i16x8_const_splat(-128), most = wasm_i16x8_const_splat(127);
            each<2>([&](auto i) INLINE {
                const Reg both = words(x.part[2 * i], x.part[2 * i + 1]);
                wasm_v128_store(to + i * 8, wasm_i16x8_max(wasm_i16x8_min(both, most), least));
            });
        }
    };
};

}  // namespace
}  // namespace lc2fer
