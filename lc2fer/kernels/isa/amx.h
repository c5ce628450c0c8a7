// AMX: products of bytes by tiles, whose sums are integers, so they are AVX-512 VNNI's. What is not deep enough for
// tiles, variants/amx.cpp leaves to that.
#pragma once

#include "avx512vnni.h"

namespace lc2fer {
namespace {

struct Amx : Avx512Vnni {
    struct Bytes : Avx512Vnni::Bytes {
        static constexpr bool TILES = true;
        static constexpr int TILE_ROWS = 16;

        // Bytes of a row that a tile takes: as many as can be and divide the depth; 0 where these are too few.
        static INLINE int tile_depth(int depth) {
            for (int bytes = 64; bytes >= 32; bytes -= STEP)
                if (depth % bytes == 0) return bytes;
            return 0;
        }

        struct Ready {  // tiles of 16 rows of 64 bytes: four of sums, two of rows, two of weights
            struct alignas(64) Config {
                uint8_t palette = 1, start_row = 0, reserved[14] = {};
                uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
                uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
            };

            explicit Ready(int depth) {
                Config config;
                config.bytes[4] = config.bytes[5] = uint16_t(depth);
                config.rows[6] = config.rows[7] = uint8_t(depth / STEP);
                _tile_loadconfig(&config);
            }
            ~Ready() { _tile_release(); }
        };

        using Tile = int32_t[TILE_ROWS][LANES];

        // As the packed weights lie, up to 16 steps are one tile. Sums come back by way of the first cache, those of
        // two tiles of rows with PANELS panels at a time: for some thousand cycles behind each instruction for tiles, a
        // Sapphire Rapids has one port less for floats in 512 bits. A tile that has fewer rows takes what lies behind
        // them, in the same time.
        template <class Product, class Finish>
        static INLINE void products(const Value* rows, int stride, int count, const Product& its, int depth, int panels,
                                    const Finish& finish) {
            constexpr int PANELS = 16;
            alignas(64) Tile sums[PANELS][2];
            const int step = tile_depth(depth);
            const Ready ready(step);
            const int blocks = (count + 2 * TILE_ROWS - 1) / (2 * TILE_ROWS);
            for (int block = 0; block < blocks; ++block) {
                const int begin = count * block / blocks, here = count * (block + 1) / blocks - begin;
                for (int panel = 0; panel < panels; ++panel) {
                    if (panel % PANELS == 0)
                        for (int next = panel; next < least(panel + PANELS, panels); next += 2)
                            multiply(rows + size_t(begin) * stride, stride, here > TILE_ROWS,
                                     its.weights + size_t(next) * depth * LANES, depth, step, next + 1 < panels,
                                     sums + next % PANELS);
                    const Sum first = start(its.start + panel * LANES);
                    const int32_t (*own)[LANES] = sums[panel % PANELS][0];
                    groups<ROWS>(here, [&](int row, auto size) INLINE {
                        Reg values[size()];
                        each<size()>([&](auto m) INLINE {
                            values[m] = floats(_mm512_add_epi32(first, _mm512_load_si512(own[row + m])));
                        });
                        finish(panel * LANES, begin + row, values);
                    });
                }
            }
        }

        // Two tiles of rows, or one, by two of weights, or one.
        static INLINE void multiply(const Value* rows, int stride, bool more, const uint8_t* weights, int depth,
                                    int step, bool both, Tile (*sums)[2]) {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (int k = 0; k < depth; k += step, weights += step * LANES) {
                _tile_loadd(4, rows + k, stride);
                _tile_loadd(6, weights, 64);
                _tile_dpbusd(0, 4, 6);
                if (both) _tile_loadd(7, weights + size_t(depth) * LANES, 64);
                if (both) _tile_dpbusd(1, 4, 7);
                if (!more) continue;
                _tile_loadd(5, rows + size_t(TILE_ROWS) * stride + k, stride);
                _tile_dpbusd(2, 5, 6);
                if (both) _tile_dpbusd(3, 5, 7);
            }
            _tile_stored(0, sums[0][0], 64);
            if (both) _tile_stored(1, sums[1][0], 64);
            if (more) _tile_stored(2, sums[0][1], 64);
            if (more && both) _tile_stored(3, sums[1][1], 64);
        }
    };
};

}  // namespace
}  // namespace lc2fer
