// SMMLA of ARMv8.6 with i8mm: Neoverse V1 and N2, Cortex-A510 and A710 on.
#pragma once

#include "neon.h"

namespace lc2fer {
namespace {

struct I8mm : Neon {
    struct Bytes : Neon::Bytes {
        static constexpr bool OWN_PRODUCT = true;

        // SMMLA takes two rows and two outputs by eight of depth, and gives 2 x 2 sums. Those of four pairs of outputs
        // are put in order at the end.
        template <int ROWS>
        static INLINE void product(const Value* rows, int stride, const uint8_t* weights, int steps,
                                   Sum (&sums)[ROWS][4]) {
            constexpr int PAIRS = (ROWS + 1) / 2;
            Sum own[PAIRS][8];
            each<PAIRS>([&](auto m) INLINE { each<8>([&](auto n) INLINE { own[m][n] = vdupq_n_s32(0); }); });
            for (int step = 0; step < steps; step += 2) {
                Row row[PAIRS];
                each<PAIRS>([&](auto m) INLINE {
                    const Value* one = rows + 2 * m * stride + step * STEP;
                    const Value* other = 2 * m + 1 < ROWS ? one + stride : one;
                    row[m] = vcombine_s8(vld1_s8(one), vld1_s8(other));
                });
                each<8>([&](auto n) INLINE {
                    const Weight pair = weight(weights + step * 64 + n * 16);
                    each<PAIRS>([&](auto m) INLINE { own[m][n] = vmmlaq_s32(own[m][n], row[m], pair); });
                });
            }
            each<PAIRS>([&](auto m) INLINE {
                each<4>([&](auto n) INLINE {
                    const int64x2_t low = vreinterpretq_s64_s32(own[m][2 * n]);
                    const int64x2_t high = vreinterpretq_s64_s32(own[m][2 * n + 1]);
                    sums[2 * m][n] = vreinterpretq_s32_s64(vzip1q_s64(low, high));
                    if constexpr (2 * m + 1 < ROWS) sums[2 * m + 1][n] = vreinterpretq_s32_s64(vzip2q_s64(low, high));
                });
            });
        }

        // [panels][depth / 8][8 pairs of outputs][2][8]
        static void pack(const void* weights, size_t panels, size_t depth, void* to) {
            const int8_t* from = static_cast<const int8_t*>(weights);
            int8_t* out = static_cast<int8_t*>(to);
            for (size_t four = 0; four < panels * depth / 4; ++four)
                for (size_t lane = 0; lane < LANES; ++lane)
                    __builtin_memcpy(out + four / 2 * 128 + lane * 8 + four % 2 * 4, from + (four * LANES + lane) * 4,
                                     4);
        }
    };
};

}  // namespace
}  // namespace lc2fer
