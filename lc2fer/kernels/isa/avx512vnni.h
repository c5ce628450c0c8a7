// Products of bytes by VPDPBUSD, which AVX-512 VNNI has: Intel Ice Lake and AMD Zen 4 on.
#pragma once

#include "avx512.h"

namespace lc2fer {
namespace {

struct Avx512Vnni : Avx512 {
    struct Bytes : Short {  // rows unsigned with zero-point 128, which a sum's start takes back
        using Value = uint8_t;
        using Sum = __m512i;
        using Row = __m512i;
        using Weight = __m512i;
        static constexpr int STEP = 4, ROWS = 8, WEIGHT_BYTES = 1;
        static constexpr auto pack = copy_weights<WEIGHT_BYTES>;

        static INLINE Sum start(const int32_t* from) { return _mm512_loadu_si512(from); }
        static INLINE Weight weight(const uint8_t* from) { return _mm512_loadu_si512(from); }
        static INLINE Row row(const Value* from) { return four_bytes(from); }
        // Around the intrinsic GCC 12 copies each sum to and fro; so it adds in place.
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(row), "v"(weight));
            return sum;
        }
        static INLINE Reg floats(Sum sum) { return _mm512_cvtepi32_ps(sum); }
        static constexpr int PACK = 4;
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes (&x)[4]) {
            const auto words = [&](int i) INLINE {
                return _mm512_packs_epi32(_mm512_cvtps_epi32(x[i].part[0]), _mm512_cvtps_epi32(x[i + 1].part[0]));
            };
            const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(words(0), words(2)));
            _mm512_storeu_si512(to, _mm512_xor_si512(bytes, _mm512_set1_epi8(char(0x80))));
        }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {  // half to even, clipped to -128..127, plus 128
            const __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x.part[0]));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_xor_si128(bytes, _mm_set1_epi8(char(0x80))));
        }
    };
};

}  // namespace
}  // namespace lc2fer
