// How pixels are shared: in pieces that a tile takes at a time, which are the same on every processor, and in segments,
// runs of them, which are the same for every number of threads. GRN's sums are added up by segments in their order, so
// neither changes a bit.
#pragma once

#include "each.h"

namespace lc2fer {
namespace {

constexpr int MOST_SEGMENTS = 24;  // shared equally by 1, 2, 3, 4, 6, 8 or 12 threads

struct Pieces {  // whole lines, or equal parts of one
    int height, width;

    INLINE int lines() const { return MOST_PIXELS / width; }
    INLINE int parts() const { return (width + MOST_PIXELS - 1) / MOST_PIXELS; }
    INLINE int number() const { return lines() > 0 ? (height + lines() - 1) / lines() : height * parts(); }
    INLINE int segments() const { return least(number(), MOST_SEGMENTS); }
    INLINE int begin(int piece) const {  // its first pixel
        if (lines() > 0) return least(piece * lines(), height) * width;
        return piece / parts() * width + width * (piece % parts()) / parts();
    }
};

// function(line, pixel in it, first, last + 1) for the lines of `count` pixels from `pixel` on; the last two of
// 0..count
template <class Function>
inline INLINE void each_line(int pixel, int count, int width, const Function& function) {
    for (int first = 0, end; first < count; first = end) {
        const int line = (pixel + first) / width, left = (pixel + first) % width;
        end = least(count, first + width - left);
        function(line, left, first, end);
    }
}

// function(segment, first piece, last + 1)
template <class Function>
inline void share(const Pieces& pieces, const Pool& pool, const Function& function) {
    struct Call {
        const Pieces* pieces;
        const Function* function;
    } call{&pieces, &function};
    const auto part = [](void* argument, int segment) {
        const Call& its = *static_cast<const Call*>(argument);
        const int number = its.pieces->number(), segments = its.pieces->segments();
        (*its.function)(segment, number* segment / segments, number * (segment + 1) / segments);
    };
    pool.run(pool.its, part, &call, pieces.segments());
}

// function(first pixel, count) for each piece of each segment
template <class Function>
inline void share_pieces(const Pieces& pieces, const Pool& pool, const Function& function) {
    share(pieces, pool, [&](int, int first, int end) {
        for (int piece = first; piece < end; ++piece) {
            const int begin = pieces.begin(piece);
            function(begin, pieces.begin(piece + 1) - begin);
        }
    });
}

// function(segment, first piece, last + 1, whether the segment begins there) for runs of at most MOST pieces
template <int MOST, class Function>
inline void share_runs(const Pieces& pieces, const Pool& pool, const Function& function) {
    share(pieces, pool, [&](int segment, int first, int end) {
        for (int piece = first; piece < end; piece += MOST)
            function(segment, piece, least(piece + MOST, end), piece == first);
    });
}

}  // namespace
}  // namespace lc2fer
