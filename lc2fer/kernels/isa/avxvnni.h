// AVX-VNNI: Intel Alder Lake, its small cores (N100) among them, and AMD Zen 5 on.
#pragma once

#include "avx2.h"

namespace lc2fer {
namespace {

struct AvxVnni : Avx2 {
    struct Bytes : Avx2::Bytes {  // rows unsigned with zero-point 128, which a sum's start takes back
        using Value = uint8_t;
        // 12 sums, 2 registers of weights and a row: VPDPBUSD's latency of 5 on two ports wants 10 sums
        static constexpr int STEP = 4, ROWS = 6, WEIGHT_BYTES = 1;
        static constexpr auto pack = copy_weights<WEIGHT_BYTES>;

        static constexpr int PACK = 2;
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes (&x)[2]) {
            const auto words = [&](int i) INLINE {
                return _mm256_packs_epi32(_mm256_cvtps_epi32(x[i].part[0]), _mm256_cvtps_epi32(x[i].part[1]));
            };
            const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words(0), words(1)), order);
            const __m256i out = _mm256_xor_si256(bytes, _mm256_set1_epi8(char(0x80)));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), out);
        }

        static INLINE Sum start(const int32_t* from) {
            return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        }
        static INLINE Row row(const Value* from) { return four_bytes(from); }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(row), "x"(weight));
            return sum;
        }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {
            const __m256i both = words(x.part);
            const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_xor_si128(bytes, _mm_set1_epi8(char(0x80))));
        }
    };
};

}  // namespace
}  // namespace lc2fer
