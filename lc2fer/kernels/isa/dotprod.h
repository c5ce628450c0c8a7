// SDOT of ARMv8.2 with dotprod: Cortex-A55, A76 (Raspberry Pi 5), A78AE (Jetson Orin) on.
#pragma once

#include "neon.h"

namespace lc2fer {
namespace {

struct Dotprod : Neon {
    struct Bytes : Neon::Bytes {
        static constexpr bool LANED = true;

        static INLINE Row four_steps(const Value* from) { return vld1q_s8(from); }
        static INLINE Sum dot(Sum sum, Row row, Weight weight) { return vdotq_s32(sum, weight, row); }
        template <int LANE>
        static INLINE Sum dot(Sum sum, Row row, Weight weight) {
            return vdotq_laneq_s32(sum, weight, row, LANE);
        }
    };
};

}  // namespace
}  // namespace lc2fer
