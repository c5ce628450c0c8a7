// AVX2 with FMA and F16C: Intel Haswell and AMD Zen on. Bytes are multiplied as words of 16 bits: what multiplies bytes
// themselves here saturates.
#pragma once

#include "../precision.h"

#include <immintrin.h>

namespace lc2fer {

Depthwise avx2_depthwise;

namespace {

struct Avx2 {
    static constexpr int W = 8, COLUMNS = 1, FLOAT_ROWS = 6, SPAN = 12, CHAINS = 6;
    static constexpr bool TABLES = false, FLOAT_LANED = false, INSIDE_APART = false;
    static constexpr auto depthwise = avx2_depthwise;
    using Reg = __m256;
    struct Tail {};

    static INLINE Tail tail(int) { return {}; }
    static INLINE Reg load(const float* from) { return _mm256_loadu_ps(from); }
    static INLINE Reg load(const float* from, Tail) { return _mm256_loadu_ps(from); }
    static INLINE void store(float* to, Reg x) { _mm256_storeu_ps(to, x); }
    static INLINE void store(float* to, Tail, Reg x) { _mm256_storeu_ps(to, x); }
    static INLINE Reg all(float x) { return _mm256_set1_ps(x); }
    static INLINE Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
    static INLINE Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
    static INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
    static INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static INLINE Reg within(Reg x, Reg most, Reg least) { return _mm256_max_ps(_mm256_min_ps(x, most), least); }
    static INLINE Reg div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
    static INLINE Reg root(Reg x) { return _mm256_sqrt_ps(x); }
    static INLINE Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
    static INLINE Reg fold(const Reg (&x)[2]) { return add(x[0], x[1]); }
    template <int LEFT>
    static INLINE Reg halved(Reg a, Reg b) {
        if constexpr (LEFT == 8) return add(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
        if constexpr (LEFT == 4) return add(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
        if constexpr (LEFT == 2) return add(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
    }
    static INLINE void lines_of_4(const float* from, int stride, Reg (&to)[2]) {
        to[0] = _mm256_set_m128(_mm_loadu_ps(from + stride), _mm_loadu_ps(from));
        to[1] = _mm256_set_m128(_mm_loadu_ps(from + 3 * stride), _mm_loadu_ps(from + 2 * stride));
    }
    static INLINE void keep(uint16_t* to, Reg x) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
    static INLINE void keep(float* to, Reg x) { store(to, x); }
    static INLINE Reg kept(const uint16_t* from) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    static INLINE Reg kept(const float* from) { return load(from); }
    static INLINE Reg bfloat16(Reg x) {  // half to even; subnormals become zero
        const __m256i bits = _mm256_castps_si256(x), exponent = _mm256_set1_epi32(0x7f800000);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i near = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        const __m256i small = _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), _mm256_setzero_si256());
        const __m256i kept = _mm256_andnot_si256(small, _mm256_set1_epi32(int(0xffff0000)));
        return _mm256_castsi256_ps(_mm256_and_si256(near, kept));
    }

    static INLINE __m256i four_bytes(const void* from) {
        int four;
        __builtin_memcpy(&four, from, 4);
        return _mm256_set1_epi32(four);
    }
    static INLINE __m256i words(const Reg (&x)[2]) {  // half to even, clipped to 16 bits
        const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
        return _mm256_permute4x64_epi64(both, 0xd8);
    }

    struct Bytes : Short {
        using Value = int16_t;
        using Sum = __m256i;
        using Row = __m256i;
        using Weight = __m256i;
        static constexpr int STEP = 2, ROWS = 6, WEIGHT_BYTES = 2;
        static constexpr auto pack = pack_bytes<int16_t, STEP>;

        static INLINE Sum start(const int32_t*) { return _mm256_setzero_si256(); }
        static INLINE Weight weight(const uint8_t* from) {
            return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        }
        static INLINE Row row(const Value* from) { return four_bytes(from); }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            return _mm256_add_epi32(sum, _mm256_madd_epi16(row, weight));
        }
        static INLINE Reg floats(Sum sum) { return _mm256_cvtepi32_ps(sum); }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {
            const __m256i least = _mm256_set1_epi16(-128), most = _mm256_set1_epi16(127);
            const __m256i clipped = _mm256_max_epi16(_mm256_min_epi16(words(x.part), most), least);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), clipped);
        }
    };
};

}  // namespace
}  // namespace lc2fer
