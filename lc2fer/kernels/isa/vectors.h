// Any processor, by vectors of four as GCC and Clang have them; SSE2 on x86. Slow where there is no fused multiply-add,
// which is then computed in double: for the same bits, not for speed.
#pragma once

#include "../precision.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lc2fer {

Depthwise generic_depthwise;

namespace {

struct Vectors {
    static constexpr int W = 4, COLUMNS = 1, FLOAT_ROWS = 2, SPAN = 4, CHAINS = 1;
    static constexpr bool TABLES = false, FLOAT_LANED = false, INSIDE_APART = false;
    static constexpr auto depthwise = generic_depthwise;
    typedef float Reg __attribute__((vector_size(16)));
    typedef int32_t Ints __attribute__((vector_size(16)));
    struct Tail {};

    template <class T>
    static INLINE T get(const void* from) {
        T x;
        __builtin_memcpy(&x, from, sizeof x);
        return x;
    }
    static INLINE Ints ints(int x) { return Ints{x, x, x, x}; }
    static INLINE Tail tail(int) { return {}; }
    static INLINE Reg load(const float* from) { return get<Reg>(from); }
    static INLINE Reg load(const float* from, Tail) { return get<Reg>(from); }
    static INLINE void store(float* to, Reg x) { __builtin_memcpy(to, &x, sizeof x); }
    static INLINE void store(float* to, Tail, Reg x) { store(to, x); }
    static INLINE Reg all(float x) { return Reg{x, x, x, x}; }
    static INLINE Reg add(Reg a, Reg b) { return a + b; }
    static INLINE Reg mul(Reg a, Reg b) { return a * b; }
    static INLINE Reg min(Reg a, Reg b) { return a < b ? a : b; }
    static INLINE Reg max(Reg a, Reg b) { return a > b ? a : b; }
    static INLINE Reg within(Reg x, Reg most, Reg least) { return max(min(x, most), least); }

    // A double holds the product of two floats. Their sum with a third, rounded to double and then to float, differs
    // from a sum rounded once only if the double fell upon the middle between two floats: it is then moved off it.
    static INLINE float fma(float a, float b, float c) {
        const double product = double(a) * b, sum = product + c, of_c = sum - product;
        const double lost = (product - (sum - of_c)) + (c - of_c);
        uint64_t bits = get<uint64_t>(&sum);
        if ((bits & 0x1fffffff) == 0x10000000 && lost != 0.0) bits += (lost > 0.0) == (sum > 0.0) ? 1 : -1;
        return float(get<double>(&bits));
    }
    static __attribute__((noinline)) Reg each_fma(Reg a, Reg b, Reg c) {
        return Reg{fma(a[0], b[0], c[0]), fma(a[1], b[1], c[1]), fma(a[2], b[2], c[2]), fma(a[3], b[3], c[3])};
    }
    static __attribute__((noinline)) Reg fma(Reg a, Reg b, Reg c) {  // inlined, it were a third of a library's size
#if defined(__SSE2__)
        const __m128d p = _mm_cvtps_pd(a) * _mm_cvtps_pd(b), s = p + _mm_cvtps_pd(c);
        const __m128d q = _mm_cvtps_pd(_mm_movehl_ps(a, a)) * _mm_cvtps_pd(_mm_movehl_ps(b, b));
        const __m128d t = q + _mm_cvtps_pd(_mm_movehl_ps(c, c));
        const __m128 low = _mm_shuffle_ps(_mm_castpd_ps(s), _mm_castpd_ps(t), 0x88);  // halves of the doubles
        const __m128i middle = _mm_cmpeq_epi32(_mm_slli_epi32(_mm_castps_si128(low), 3), _mm_set1_epi32(1 << 31));
        if (__builtin_expect(_mm_movemask_epi8(middle) == 0, 1)) return _mm_movelh_ps(_mm_cvtpd_ps(s), _mm_cvtpd_ps(t));
#endif
        return each_fma(a, b, c);
    }
    static INLINE Reg div(Reg a, Reg b) { return a / b; }
    static INLINE Reg root(Reg x) {
        return Reg{__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
    }
    static INLINE Reg fold(const Reg (&x)[4]) { return (x[0] + x[2]) + (x[1] + x[3]); }
    template <int LEFT>
    static INLINE Reg halved(Reg a, Reg b) {
        if constexpr (LEFT == 4) return Reg{a[0], a[1], b[0], b[1]} + Reg{a[2], a[3], b[2], b[3]};
        if constexpr (LEFT == 2) return Reg{a[0], a[2], b[0], b[2]} + Reg{a[1], a[3], b[1], b[3]};
    }
    static INLINE void lines_of_4(const float* from, int stride, Reg (&to)[4]) {
        each<4>([&](auto i) INLINE { to[i] = load(from + i * stride); });
    }
    static INLINE void keep(uint16_t* to, Reg x) {  // half to even
        const Ints bits = (Ints)x, sign = bits & ints(1 << 31);
        const Reg size = (Reg)(bits ^ sign);
        const Ints exponent = (Ints)size & 0x7f800000, least = ints(0x38800000);      // of 2^-14: below are subnormals
        const Reg magic = (Reg)((exponent > least ? exponent : least) + (13 << 23));  // its last place is float16's
        const Reg near = ((size + magic) - magic) * all(0x1p-112f);
        const Ints half = ((Ints)near >> 13) | ((sign >> 16) & 0x8000);
        for (int i = 0; i < 4; ++i) to[i] = uint16_t(half[i]);
    }
    static INLINE void keep(float* to, Reg x) { store(to, x); }
    static INLINE Reg kept(const uint16_t* from) {
        const Ints half = {from[0], from[1], from[2], from[3]};
        return (Reg)((Ints)((Reg)((half & 0x7fff) << 13) * all(0x1p112f)) | ((half & 0x8000) << 16));
    }
    static INLINE Reg kept(const float* from) { return load(from); }
    static INLINE Reg bfloat16(Reg x) {  // half to even; subnormals become zero
        const Ints bits = (Ints)x, near = bits + 0x7fff + ((bits >> 16) & 1);
        return (Reg)((bits & 0x7f800000) != 0 ? near & int(0xffff0000) : ints(0));
    }
};

}  // namespace
}  // namespace lc2fer
