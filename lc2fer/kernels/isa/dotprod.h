// SDOT of ARMv8.2 with dotprod: Cortex-A55, A76 (Raspberry Pi 5), A78AE (Jetson Orin) on.
#pragma once

#include "neon.h"

namespace lc2fer {
namespace {

struct Dotprod : Neon {
    struct Bytes : Neon::Bytes {
        static constexpr bool LANED = true;

        static INLINE Weight weight(const uint8_t* from) {  // one by one: a pair counts for three
            Weight weight;
            asm("ldr %q0, %1" : "=w"(weight) : "m"(*reinterpret_cast<const Weight*>(from)));
            return weight;
        }
        static INLINE Row four_steps(const Value* from) { return vld1q_s8(from); }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) { return vdotq_s32(sum, weight, row); }
        template <int LANE>  // in place: around the intrinsic, GCC 12 copies some of the sums
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            asm("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sum) : "w"(weight), "w"(row), "i"(LANE));
            return sum;
        }
    };
};

}  // namespace
}  // namespace lc2fer
