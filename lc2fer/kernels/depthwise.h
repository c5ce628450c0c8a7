// The depthwise convolution, 7 x 7 with padding: a span of a line at a time, whose sums stay in registers.
#pragma once

#include "lanes.h"

namespace lc2fer {
namespace {

// Of COUNT pixels of a line from `left` on and W channels from `c` on; out is [COUNT][padded C].
template <int COUNT>
inline void span(const BlockNumbers& its, const float* x, int line, int left, int c, float* out) {
    const int channels = its.channels, stride = padded(channels);
    const auto tail = Isa::tail(channels - c);
    Reg sums[COUNT];
    each<COUNT>([&](auto i) INLINE { sums[i] = Isa::load(its.depthwise + TAPS * stride + c); });
    const int first = line < TAP / 2 ? TAP / 2 - line : 0, end = least(TAP, its.height - line + TAP / 2);
    for (int ky = first; ky < end; ++ky) {
        const float* row = x + (ptrdiff_t(line + ky - TAP / 2) * its.width + left - TAP / 2) * channels + c;
        const float* tap = its.depthwise + ky * TAP * stride + c;
        Reg taps[TAP];
        each<TAP>([&](auto k) INLINE { taps[k] = Isa::load(tap + k * stride); });
        each<COUNT + TAP - 1>([&](auto j) INLINE {
            if (left + j < TAP / 2 || left + j >= its.width + TAP / 2) return;
            const Reg value = Isa::load(row + j * channels, tail);
            each<TAP>([&](auto k) INLINE {
                constexpr int i = j - k;
                if constexpr (i >= 0 && i < COUNT) sums[i] = Isa::fma(value, taps[k], sums[i]);
            });
        });
    }
    each<COUNT>([&](auto i) INLINE { Isa::store(out + i * stride + c, sums[i]); });
}

// Of `count` pixels from `pixel` on, over the ends of lines: [count][padded C]. Where no channel is, out stays as it
// was.
inline void depthwise(const BlockNumbers& its, const float* x, int pixel, int count, float* out) {
    const int stride = padded(its.channels);
    while (count > 0) {
        const int line = pixel / its.width, left = pixel % its.width, here = least(count, its.width - left);
        for (int c = 0; c < its.channels; c += W)
            groups<Isa::SPAN>(here, [&](int first, auto size) INLINE {
                span<size()>(its, x, line, left + first, c, out + size_t(first) * stride);
            });
        pixel += here;
        count -= here;
        out += size_t(here) * stride;
    }
}

}  // namespace
}  // namespace lc2fer
