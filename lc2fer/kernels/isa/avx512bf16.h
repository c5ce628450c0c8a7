// Products of bfloat16 by VDPBF16PS, which AVX-512 BF16 has: AMD Zen 4 on, and Intel Cooper Lake.
#pragma once

#include "avx512.h"

namespace lc2fer {
namespace {

struct Avx512Bf16 : Avx512 {
    struct Halves : Short {
        using Value = uint16_t;
        using Sum = __m512;
        using Row = __m512i;
        using Weight = __m512i;
        static constexpr int STEP = 2, ROWS = 8, WEIGHT_BYTES = 2;
        static constexpr auto pack = copy_weights<WEIGHT_BYTES>;

        static INLINE Sum start(const int32_t*) { return _mm512_setzero_ps(); }
        static INLINE Weight weight(const uint8_t* from) { return _mm512_loadu_si512(from); }
        static INLINE Row row(const Value* from) { return four_bytes(from); }
        // Around the intrinsic GCC 12 copies each sum to and fro; so it adds in place.
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(row), "v"(weight));
            return sum;
        }
        static INLINE Reg floats(Sum sum) { return sum; }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x.part[0]));
        }
    };
};

}  // namespace
}  // namespace lc2fer
