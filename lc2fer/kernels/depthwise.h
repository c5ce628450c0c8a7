// The depthwise convolution, 7 x 7 with padding: a span of a line at a time, whose sums stay in registers.
#pragma once

#include "lanes.h"
#include "share.h"

namespace lc2fer {
namespace {

// Of COUNT pixels of a line from `left` on and W channels from `c` on, of which the first FOUND are there; out is
// [COUNT][padded C]. INSIDE: no tap of theirs falls before or behind the line.
template <int COUNT, int FOUND, bool INSIDE, class Its = Isa>
inline void span(const BlockNumbers& its, const float* x, int line, int left, int c, float* out) {
    const int channels = its.channels, stride = padded(channels);
    const float* taps_of_c = its.depthwise + c / LANES * TAPS_AND_BIAS * LANES + c % LANES;
    Reg sums[COUNT];
    each<COUNT>([&](auto i) INLINE { sums[i] = Isa::load(taps_of_c + TAPS * LANES); });
    const int first = line < TAP / 2 ? TAP / 2 - line : 0, end = least(TAP, its.height - line + TAP / 2);
    for (int ky = first; ky < end; ++ky) {
        const float* next = x + (ptrdiff_t(line + ky - TAP / 2) * its.width + left - TAP / 2) * channels + c;
        const float* tap = taps_of_c + ky * TAP * LANES;
        Reg taps[TAP];
        each<TAP>([&](auto k) INLINE { taps[k] = Isa::load(step_on(tap, LANES)); });
        each<COUNT + TAP - 1>([&](auto j) INLINE {
            const float* from = step_on(next, channels);
            if (!INSIDE && j < TAP / 2 && left + j < TAP / 2) return;
            if (!INSIDE && j >= COUNT + TAP / 2 && left + j >= its.width + TAP / 2) return;
            Reg value;
            if constexpr (FOUND < W)
                value = Its::load_eight(from);
            else
                value = Its::load(from);
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
    each_line(pixel, count, its.width, [&](int line, int left, int begin, int end) INLINE {
        const auto spans = [&](int c, auto found) INLINE {
            groups<Isa::SPAN>(end - begin, [&](int first, auto size) INLINE {
                const int from = left + first;
                float* to = out + size_t(begin + first) * stride;
                if (Isa::INSIDE_APART && from >= TAP / 2 && from + size() + TAP / 2 <= its.width)
                    span<size(), found(), Isa::INSIDE_APART>(its, x, line, from, c, to);
                else
                    span<size(), found(), false>(its, x, line, from, c, to);
            });
        };
        int c = 0;
        for (; c + W <= its.channels; c += W) spans(c, std::integral_constant<int, W>{});
        if constexpr (W > 8)  // channels are a multiple of 8
            if (c < its.channels) spans(c, std::integral_constant<int, 8>{});
    });
}

}  // namespace
}  // namespace lc2fer
