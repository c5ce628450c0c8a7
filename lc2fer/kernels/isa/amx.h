// AMX: bytes whose depth fills a tile (C6's and C5's blocks) go there, all else stays with AVX-512 VNNI. A tile's sums
// are integers, so these are the same.
#pragma once

#include "avx512.h"

namespace lc2fer {
namespace {

struct Amx : Avx512 {
    struct Bytes : Avx512::Bytes {
        static constexpr bool TILES = true;
        static constexpr int TILE_DEPTH = 64, TILE_ROWS = 16;

        struct alignas(64) Config {  // of the eight tiles
            uint8_t palette = 1, start_row = 0, reserved[14] = {};
            uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {};
        };

        // As the packed weights lie, 16 steps are one tile. Two tiles of rows by two of weights make four of sums, 0 to
        // 3, which come back by way of the first cache.
        template <class Product, class Finish>
        static INLINE void products(const Value* rows, int stride, int count, const Product& its, int depth, int panels,
                                    const Finish& finish) {
            const int steps = depth / STEP, first_rows = least(count, TILE_ROWS), second_rows = count - first_rows;
            Config config;
            for (int tile = 0; tile < 8; ++tile) config.rows[tile] = TILE_ROWS;
            config.rows[0] = config.rows[1] = config.rows[4] = uint8_t(first_rows);
            if (second_rows > 0) config.rows[2] = config.rows[3] = config.rows[5] = uint8_t(second_rows);
            _tile_loadconfig(&config);
            alignas(64) int32_t sums[4][TILE_ROWS][LANES];
            const auto finish_tile = [&](int panel, int row, int number,
                                         const int32_t (&own)[TILE_ROWS][LANES]) INLINE {
                const Sum first = start(its.start + panel * LANES);
                groups<ROWS>(number, [&](int begin, auto size) INLINE {
                    Reg values[size()];
                    each<size()>([&](auto m) INLINE {
                        values[m] = floats(_mm512_add_epi32(first, _mm512_load_si512(own[begin + m])));
                    });
                    finish(panel * LANES, row + begin, values);
                });
            };
            for (int panel = 0; panel < panels; panel += 2) {
                const bool both = panel + 1 < panels;
                const uint8_t* weights = its.weights + size_t(panel) * steps * 64;
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                for (int k = 0; k < depth; k += TILE_DEPTH) {
                    _tile_loadd(4, rows + k, stride);
                    _tile_loadd(6, weights + k * LANES, 64);
                    _tile_dpbusd(0, 4, 6);
                    if (both) {
                        _tile_loadd(7, weights + size_t(steps) * 64 + k * LANES, 64);
                        _tile_dpbusd(1, 4, 7);
                    }
                    if (second_rows > 0) {
                        _tile_loadd(5, rows + size_t(TILE_ROWS) * stride + k, stride);
                        _tile_dpbusd(2, 5, 6);
                        if (both) _tile_dpbusd(3, 5, 7);
                    }
                }
                _tile_stored(0, sums[0], 64);
                if (both) _tile_stored(1, sums[1], 64);
                if (second_rows > 0) _tile_stored(2, sums[2], 64);
                if (second_rows > 0 && both) _tile_stored(3, sums[3], 64);
                finish_tile(panel, 0, first_rows, sums[0]);
                if (second_rows > 0) finish_tile(panel, TILE_ROWS, second_rows, sums[2]);
                if (both) finish_tile(panel + 1, 0, first_rows, sums[1]);
                if (both && second_rows > 0) finish_tile(panel + 1, TILE_ROWS, second_rows, sums[3]);
            }
            _tile_release();
        }
    };
};

}  // namespace
}  // namespace lc2fer
