// Products of bytes on any processor, by words of 16 bits; PMADDWD on x86.
#pragma once

#include "vectors.h"

namespace lc2fer {
namespace {

struct Generic : Vectors {
    struct Bytes : Short {
        typedef int16_t Words __attribute__((vector_size(16)));
        using Value = int16_t;
        using Sum = Ints;
        using Row = Words;
        using Weight = Words;
        static constexpr int STEP = 2, ROWS = 2, WEIGHT_BYTES = 2;
        static constexpr auto pack = pack_bytes<int16_t, STEP>;

        static INLINE Sum start(const int32_t*) { return ints(0); }
        static INLINE Weight weight(const uint8_t* from) { return get<Words>(from); }
        static INLINE Row row(const Value* from) { return (Words)ints(get<int32_t>(from)); }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
#if defined(__SSE2__)
            return sum + (Sum)_mm_madd_epi16((__m128i)row, (__m128i)weight);
#else
            const Sum a = (Sum)row, b = (Sum)weight;
            return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
        }
        static INLINE Reg floats(Sum sum) { return __builtin_convertvector(sum, Reg); }
        template <class Lanes>
        static INLINE void put(Value* to, const Lanes& x) {
            for (const Reg& part : x.part) {
                const Reg near = max(min(part, all(127.0f)), all(-128.0f)), magic = all(0x1.8p23f);  // half to even
                const Ints whole = __builtin_convertvector((near + magic) - magic, Ints);
                for (int i = 0; i < 4; ++i) *to++ = Value(whole[i]);
            }
        }
    };
};

}  // namespace
}  // namespace lc2fer
