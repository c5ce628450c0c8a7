// AVX-512 (F, BW, DQ, VL) of Intel Skylake-X and AMD Zen 4 on.
#pragma once

#include "../precision.h"

#include <immintrin.h>

namespace lc2fer {

Depthwise avx512_depthwise;

namespace {

struct Avx512 {
    static constexpr int W = 16, COLUMNS = 2, FLOAT_ROWS = 8, SPAN = 16, CHAINS = 4;
    static constexpr bool TABLES = false, FLOAT_LANED = false, INSIDE_APART = false;
    static constexpr auto depthwise = avx512_depthwise;
    using Reg = __m512;
    using Tail = __mmask16;

    static INLINE Tail tail(int left) { return left >= 16 ? 0xffff : Tail((1 << left) - 1); }
    static INLINE Reg load(const float* from) { return _mm512_loadu_ps(from); }
    static INLINE Reg load(const float* from, Tail tail) { return _mm512_maskz_loadu_ps(tail, from); }
    static INLINE Reg load_eight(const float* from) { return _mm512_zextps256_ps512(_mm256_loadu_ps(from)); }
    static INLINE void store(float* to, Reg x) { _mm512_storeu_ps(to, x); }
    static INLINE void store(float* to, Tail tail, Reg x) { _mm512_mask_storeu_ps(to, tail, x); }
    static INLINE Reg all(float x) { return _mm512_set1_ps(x); }
    static INLINE Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
    static INLINE Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
    static INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
    static INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static INLINE Reg within(Reg x, Reg most, Reg) {  // the lesser magnitude, with the sign of x
        constexpr int LESSER_MAGNITUDE = 2, SIGN_OF_FIRST = 0 << 2;
        return _mm512_range_ps(x, most, LESSER_MAGNITUDE | SIGN_OF_FIRST);
    }
    static INLINE Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
    static INLINE Reg root(Reg x) { return _mm512_sqrt_ps(x); }
    static INLINE Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
    static INLINE Reg fold(const Reg (&x)[1]) { return x[0]; }
    template <int LEFT>
    static INLINE Reg halved(Reg a, Reg b) {
        if constexpr (LEFT == 16) return add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
        if constexpr (LEFT == 8) return add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
        if constexpr (LEFT == 4) return add(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
        if constexpr (LEFT == 2) return add(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
    }
    static INLINE void lines_of_4(const float* from, int stride, Reg (&to)[1]) {
        const __m256 low = _mm256_set_m128(_mm_loadu_ps(from + stride), _mm_loadu_ps(from));
        const __m256 high = _mm256_set_m128(_mm_loadu_ps(from + 3 * stride), _mm_loadu_ps(from + 2 * stride));
        to[0] = _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
    }
    static INLINE void keep(uint16_t* to, Reg x) {
        const __m256i halves = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
    }
    static INLINE void keep(float* to, Reg x) { store(to, x); }
    static INLINE Reg kept(const uint16_t* from) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    }
    static INLINE Reg kept(const float* from) { return load(from); }
    static INLINE Reg bfloat16(Reg x) {  // half to even; subnormals become zero
        const __m512i bits = _mm512_castps_si512(x);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        const __mmask16 normal = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
        return _mm512_castsi512_ps(_mm512_maskz_and_epi32(normal, near, _mm512_set1_epi32(int(0xffff0000))));
    }

    static INLINE __m512i four_bytes(const void* from) {
        int four;
        __builtin_memcpy(&four, from, 4);
        return _mm512_set1_epi32(four);
    }
};

}  // namespace
}  // namespace lc2fer
