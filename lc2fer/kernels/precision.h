// What the formats of every instruction set share.
#pragma once

#include "each.h"

namespace lc2fer {
namespace {

struct Plain {
    static constexpr bool LANED = false;        // products take four steps of a row at a time, by lanes of a register
    static constexpr bool TILES = false;        // products go by tiles
    static constexpr bool OWN_PRODUCT = false;  // neither dot() nor pack() are as product() wants them

    static constexpr int PACK = 1;  // of 16 values each that are best put at a time

    static constexpr int place(int step) { return step; }  // in a row, of the values of a step of the weights
};

// Of products of few bits: hidden values are kept in float16, and GELU is off by 4.8e-4 at most, by a polynomial of
// x^2.
struct Short : Plain {
    using Hidden = uint16_t;
    static constexpr int TERMS = 6;
    static constexpr bool CENTRED = false;
    static constexpr float BOUND = 3.65f;
    static constexpr float GELU[TERMS] = {0.396530896f,     -0.0626558438f,  0.00787507836f,
                                          -0.000621871091f, 2.72110862e-05f, -4.98678331e-07f};
};

// Of products in float32: GELU is off by 1e-6 at most. Its polynomial is of x^2 brought to -1..1, as its many terms
// would else cancel each other.
struct Long : Plain {
    using Hidden = float;
    static constexpr int TERMS = 13;
    static constexpr bool CENTRED = true;
    static constexpr float BOUND = 5.1f;
    static constexpr float GELU[TERMS] = {
        0.138605283f,   -0.0690032603f, 0.050782957f,    -0.0402186584f, 0.0317160251f,   -0.0240164695f, 0.0174654839f,
        -0.0120242483f, 0.00685993478f, -0.00322963438f, 0.00240441551f, -0.00195682617f, 0.000654198417f};
};

// The file's bytes [panels][depth / 4][16][4] as [panels][depth / STEP][16][STEP] Weights.
template <class Weight, int STEP>
void pack_bytes(const void* weights, size_t panels, size_t depth, void* to) {
    const int8_t* from = static_cast<const int8_t*>(weights);
    Weight* out = static_cast<Weight*>(to);
    for (size_t four = 0; four < panels * depth / 4; ++four)
        for (size_t lane = 0; lane < LANES; ++lane)
            for (size_t i = 0; i < 4; ++i)
                out[(four * 4 / STEP + i / STEP) * LANES * STEP + lane * STEP + i % STEP] =
                    from[(four * LANES + lane) * 4 + i];
}

// The file's weights as they are.
template <int BYTES>
void copy_weights(const void* weights, size_t panels, size_t depth, void* to) {
    __builtin_memcpy(to, weights, panels * depth * LANES * BYTES);
}

}  // namespace
}  // namespace lc2fer
