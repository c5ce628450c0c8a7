// A block of ConvNeXt V2 at batch 1, as the paper draws it:
//
//      x ──┬── depthwise 7 x 7 ── LayerNorm ── expand C -> 4C ── GELU ── GRN ── project 4C -> C ──(+)── out
//          └───────────────────────────────────────────────────────────────────────────────────────┘
//
// An engine runs it node by node, with the values 4C wide in memory between its nodes. Here a piece of some 25 pixels
// goes through all of it in registers and in the first cache; GRN alone, which wants the norm of each channel over the
// whole image, cuts the way in two, and the hidden values in front of it lie in memory, float16 where the products are
// of few bits. Images are float32 [H][W][C].
//
// What LayerNorm and GRN have of weights stands in the products around them (lc2fer/network/fuse.py); LayerNorm's mean
// too, so that a division by the deviation is left of it. Format (formats.h) is what the products are in: int8,
// bfloat16, float32.
#pragma once

#include "depthwise.h"
#include "product.h"
#include "share.h"

namespace lc2fer {
namespace {

// rows[count][padded C], the values divided by their pixel's deviation, in the expanding product's format
template <class Format>
inline void normalise(const BlockNumbers& its, const float* values, int count, typename Format::Value* rows) {
    const int stride = padded(its.channels);
    alignas(64) float factors[padded(MOST_PIXELS)];
    divide_by_deviations<true>(
        its.inverse_step, count, its.channels, [&](int i) INLINE { return values + i * stride; }, factors);
    for (int i = 0; i < count; ++i, values += stride, rows += stride) {
        const Lanes factor = all(factors[i]);
        put<Format>(rows, its.channels, [&](int c) INLINE { return load(values + c) * factor; });
    }
}

// hidden[count][4C] = GELU of the expansion; adds their squares to squares[4C], pixel by pixel
template <class Format>
inline void expand(const BlockNumbers& its, const typename Format::Value* rows, int count,
                   typename Format::Hidden* hidden, float* squares) {
    const int wide = its.hidden;
    const auto finish = [&](int output, int row, const auto& sums) INLINE {
        constexpr int ROWS = sizeof(sums) / sizeof(Reg);
        const Reg scale = Isa::load(its.expand.scale + output), bias = Isa::load(its.expand.bias + output);
        Reg square = Isa::load(squares + output);
        constexpr_groups<Isa::CHAINS, ROWS>([&](auto first, auto size) INLINE {
            Reg values[size()];
            each<size()>([&](auto i) INLINE { values[i] = Isa::fma(sums[first + i], scale, bias); });
            Gelu<Format>::put(values);
            each<size()>([&](auto i) INLINE {
                square = Isa::fma(values[i], values[i], square);
                Isa::keep(hidden + size_t(row + first + i) * wide + output, values[i]);
            });
        });
        Isa::store(squares + output, square);
    };
    products<Format>(rows, padded(its.channels), count, its.expand, its.channels, wide, finish);
}

// GRN: factors[4C] = 1 + gamma * norm / (mean of the norms), in the first of squares[segments][4C]
inline void respond(const BlockNumbers& its, int segments, float* squares) {
    const int wide = its.hidden;
    for (int e = 0; e < wide; e += LANES) {
        Lanes sum = load(squares + e);
        for (int segment = 1; segment < segments; ++segment) sum = sum + load(squares + size_t(segment) * wide + e);
        store(squares + e, sum);
    }
    for (int e = 0; e < wide; ++e) squares[e] = __builtin_sqrtf(squares[e]);
    float total = 0.0f;
    for (int e = 0; e < wide; ++e) total += squares[e];
    const Lanes inverse = all(1.0f / (total / wide + EPSILON));
    for (int e = 0; e < wide; e += LANES)
        store(squares + e, fma(load(its.response + wide + e), load(squares + e) * inverse, load(its.response + e)));
}

template <class Hidden>
inline INLINE Lanes responded(const Hidden* hidden, const float* factors) {
    Lanes value;
    each<PARTS>([&](auto j) INLINE { value.part[j] = Isa::kept(hidden + j * W); });
    return value * load(factors);
}

// rows[count][4C] = hidden[count][4C] * factors[4C], in the projecting product's format
template <class Format>
inline void scale(const BlockNumbers& its, const typename Format::Hidden* hidden, const float* factors, int count,
                  typename Format::Value* rows) {
    const int wide = its.hidden;
    for (int i = 0; i < count; ++i, hidden += wide, rows += wide)
        put<Format>(rows, wide, [&](int e) INLINE { return responded(hidden + e, factors + e); });
}

// The same, each row in steps of its own, so that its largest magnitude is 127 of them: steps[count]
template <class Format>
inline void scale_by_row(const BlockNumbers& its, const typename Format::Hidden* hidden, const float* factors,
                         int count, typename Format::Value* rows, float* steps) {
    const int wide = its.hidden;
    alignas(64) float values[4 * MOST_CHANNELS];
    for (int i = 0; i < count; ++i, hidden += wide, rows += wide) {
        Lanes most = all(LEAST_MAGNITUDE);
        for (int e = 0; e < wide; e += LANES) {
            const Lanes value = responded(hidden + e, factors + e);
            store(values + e, value);
            each<PARTS>([&](auto j) INLINE {
                const Reg negative = Isa::mul(value.part[j], Isa::all(-1.0f));
                most.part[j] = Isa::max(most.part[j], Isa::max(value.part[j], negative));
            });
        }
        const float largest = greatest(most);
        const Lanes inverse = all(LARGEST_BYTE / largest);
        steps[i] = largest / LARGEST_BYTE;
        put<Format>(rows, wide, [&](int e) INLINE { return load(values + e) * inverse; });
    }
}

inline size_t block_scratch(int height, int width, int hidden, size_t bytes) {
    return (size_t(Pieces{height, width}.segments()) * sizeof(float) + size_t(height) * width * bytes) * hidden;
}

template <class Format>
constexpr int PIECES = sizeof(typename Format::Value) < sizeof(float) ? MOST_PIECES : 1;  // for the stack's sake
template <class Format, int DEPTH>
using Rows = typename Format::Value[padded(PIECES<Format> * MOST_PIXELS) * DEPTH];

template <class Format>
void block(const BlockNumbers& its, const Pool& pool, const float* x, float* out, void* scratch) {
    using Hidden = typename Format::Hidden;
    const Pieces pieces{its.height, its.width};
    const int wide = its.hidden, segments = pieces.segments();
    float* squares = static_cast<float*>(scratch);
    Hidden* hidden = reinterpret_cast<Hidden*>(squares + size_t(segments) * wide);

    share_runs<PIECES<Format>>(pieces, pool, [&](int segment, int first, int end, bool begins) INLINE {
        alignas(64) float values[MOST_PIXELS * MOST_CHANNELS];
        alignas(64) Rows<Format, MOST_CHANNELS> rows;
        float* own = squares + size_t(segment) * wide;
        if (begins) __builtin_memset(own, 0, wide * sizeof(float));
        const int start = pieces.begin(first), pixels = pieces.begin(end) - start;
        for (int piece = first; piece < end; ++piece) {
            const int pixel = pieces.begin(piece), count = pieces.begin(piece + 1) - pixel;
            Isa::depthwise(its, x, pixel, count, values);
            normalise<Format>(its, values, count, rows + (pixel - start) * padded(its.channels));
        }
        expand<Format>(its, rows, pixels, hidden + size_t(start) * wide, own);
    });
    respond(its, segments, squares);
    share_runs<PIECES<Format>>(pieces, pool, [&](int, int first, int end, bool) INLINE {
        const int start = pieces.begin(first), pixels = pieces.begin(end) - start;
        const size_t at = size_t(start) * its.channels;
        Hidden* own = hidden + size_t(start) * wide;
        if constexpr (std::is_same<Hidden, typename Format::Value>::value) {
            scale<Format>(its, own, squares, pixels, own);
            write_products<Format>(own, wide, pixels, its.project, wide, its.channels, nullptr, x + at, out + at);
        } else {
            alignas(64) Rows<Format, 4 * MOST_CHANNELS> rows;
            float steps[PIECES<Format> * MOST_PIXELS];
            if (its.by_row)
                scale_by_row<Format>(its, own, squares, pixels, rows, steps);
            else
                scale<Format>(its, own, squares, pixels, rows);
            write_products<Format>(rows, wide, pixels, its.project, wide, its.channels, its.by_row ? steps : nullptr,
                                   x + at, out + at);
        }
    });
}

}  // namespace
}  // namespace lc2fer
