// NEON of ARMv8.0: every 64-bit ARM has it (Cortex-A53, A72).
#pragma once

#include "../precision.h"

#include <arm_neon.h>

namespace lc2fer {

Depthwise neon_depthwise;

namespace {

struct Neon {
    static constexpr int W = 4, COLUMNS = 1, FLOAT_ROWS = 4, SPAN = 8, CHAINS = 4;
    // INSIDE_APART: small cores wait for what is loaded behind a branch.
    static constexpr bool TABLES = true, FLOAT_LANED = true, INSIDE_APART = true;
    static constexpr auto depthwise = neon_depthwise;
    using Reg = float32x4_t;
    struct Tail {};

    static INLINE Tail tail(int) { return {}; }
    static INLINE Reg load(const float* from) { return vld1q_f32(from); }
    static INLINE Reg load(const float* from, Tail) { return vld1q_f32(from); }
    static INLINE void store(float* to, Reg x) { vst1q_f32(to, x); }
    static INLINE void store(float* to, Tail, Reg x) { vst1q_f32(to, x); }
    static INLINE Reg all(float x) { return vdupq_n_f32(x); }
    static INLINE Reg add(Reg a, Reg b) { return vaddq_f32(a, b); }
    static INLINE Reg mul(Reg a, Reg b) { return vmulq_f32(a, b); }
    static INLINE Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
    template <int LANE>
    static INLINE Reg fma_lane(Reg a, Reg b, Reg c) {
        return vfmaq_laneq_f32(c, b, a, LANE);
    }
    static INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static INLINE Reg within(Reg x, Reg most, Reg least) { return vmaxq_f32(vminq_f32(x, most), least); }
    static INLINE Reg div(Reg a, Reg b) { return vdivq_f32(a, b); }
    static INLINE Reg root(Reg x) { return vsqrtq_f32(x); }
    static INLINE Reg max(Reg a, Reg b) { return vmaxq_f32(a, b); }
    static INLINE Reg fold(const Reg (&x)[4]) { return vaddq_f32(vaddq_f32(x[0], x[2]), vaddq_f32(x[1], x[3])); }
    template <int LEFT>
    static INLINE Reg halved(Reg a, Reg b) {
        const auto two = [](Reg x) INLINE { return vreinterpretq_f64_f32(x); };
        if constexpr (LEFT == 4)
            return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(two(a), two(b))),
                             vreinterpretq_f32_f64(vzip2q_f64(two(a), two(b))));
        if constexpr (LEFT == 2) return vpaddq_f32(a, b);
    }
    static INLINE void lines_of_4(const float* from, int stride, Reg (&to)[4]) {
        each<4>([&](auto i) INLINE { to[i] = vld1q_f32(from + i * stride); });
    }
    static INLINE void keep(uint16_t* to, Reg x) { vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
    static INLINE void keep(float* to, Reg x) { store(to, x); }
    static INLINE Reg kept(const uint16_t* from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
    static INLINE Reg kept(const float* from) { return load(from); }
    static INLINE Reg bfloat16(Reg x) {  // half to even; subnormals become zero
        const uint32x4_t bits = vreinterpretq_u32_f32(x);
        const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        const uint32x4_t near = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
        const uint32x4_t normal = vtstq_u32(bits, vdupq_n_u32(0x7f800000));
        return vreinterpretq_f32_u32(vandq_u32(vandq_u32(near, normal), vdupq_n_u32(0xffff0000)));
    }

    struct Bytes : Short {
        using Value = int8_t;
        using Sum = int32x4_t;
        using Row = int8x16_t;
        using Weight = int8x16_t;
        static constexpr int STEP = 4, ROWS = 4, WEIGHT_BYTES = 1;
        static constexpr auto pack = copy_weights<WEIGHT_BYTES>;

        static INLINE Sum start(const int32_t*) { return vdupq_n_s32(0); }
        static INLINE Weight weight(const uint8_t* from) { return vreinterpretq_s8_u8(vld1q_u8(from)); }
        static INLINE Row row(const Value* from) {
            int32_t four;
            __builtin_memcpy(&four, from, 4);
            return vreinterpretq_s8_s32(vdupq_n_s32(four));
        }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {  // two products fit 16 bits: |weight| is 127 at most
            const int16x8_t low = vmull_s8(vget_low_s8(row), vget_low_s8(weight));
            return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(row, weight)));
        }
        static INLINE Reg floats(Sum sum) { return vcvtq_f32_s32(sum); }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {  // half to even, clipped to -128..127
            int16x4_t words[4];
            each<4>([&](auto i) INLINE { words[i] = vqmovn_s32(vcvtnq_s32_f32(x.part[i])); });
            const int8x8_t low = vqmovn_s16(vcombine_s16(words[0], words[1]));
            vst1q_s8(to, vcombine_s8(low, vqmovn_s16(vcombine_s16(words[2], words[3]))));
        }
    };
};

}  // namespace
}  // namespace lc2fer
