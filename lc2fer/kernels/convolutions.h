// What stands between the blocks: convolutions as products of rows that are gathered in front of them.
#pragma once

#include "product.h"
#include "share.h"

namespace lc2fer {
namespace {

// conv(round(x / deviation)), its stride being its kernel: [H][W][C] -> [H / kernel][W / kernel][outputs]
template <class Format>
void downsample(const ConvNumbers& its, const Pool& pool, const float* x, float* out) {
    using Value = typename Format::Value;
    const int across = its.across(), channels = its.channels, kernel = its.kernel, depth = kernel * kernel * channels;
    share_pieces({its.high(), across}, pool, [&](int first, int count) {
        alignas(64) Value rows[padded(MOST_PIXELS) * MOST_TAPS * MOST_CHANNELS / 2];  // the last 16 may be written past
        alignas(64) float factors[MOST_KERNEL][padded(MOST_PIXELS * MOST_KERNEL)];
        each_line(first, count, across, [&](int line, int left, int begin, int end) INLINE {
            const auto pixel = [&](int down, int n) INLINE {
                return x + (size_t(line * kernel + down) * its.width + left * kernel + n) * channels;
            };
            for (int down = 0; down < kernel; ++down) {
                const auto of_line = [&](int n) INLINE { return pixel(down, n); };
                divide_by_deviations<true>(its.inverse_step, (end - begin) * kernel, channels, of_line, factors[down]);
            }
            Value* row = rows + size_t(begin) * depth;  // in the order of the rows: put() may write past its channels
            for (int n = 0; n < (end - begin) * kernel; n += kernel)
                for (int tap = 0; tap < kernel * kernel; ++tap, row += channels) {
                    const int down = tap / kernel, here = n + tap % kernel;
                    const Lanes factor = all(factors[down][here]);
                    const float* own = pixel(down, here);
                    put<Format>(row, channels, [&](int c) INLINE { return load(own + c, channels - c) * factor; });
                }
        });
        write_products<Format>(rows, depth, count, its.product, depth, its.outputs, nullptr, nullptr,
                               out + size_t(first) * its.outputs);
    });
}

// LayerNorm(conv(pixels - 128)), 4 x 4, its mean in the product: [3][H][W] -> [..][..][outputs]
template <class Format>
void stem(const ConvNumbers& its, const Pool& pool, const float* image, float* out) {
    const int across = its.across(), stride = padded(its.outputs);
    share_pieces({its.high(), across}, pool, [&](int first, int count) {
        alignas(64) typename Format::Value rows[padded(MOST_PIXELS) * STEM_DEPTH];
        alignas(64) float values[MOST_PIXELS * MOST_CHANNELS];
        each_line(first, count, across, [&](int line, int left, int begin, int end) INLINE {
            for (int colour = 0; colour < 3; ++colour) {
                const float* own = image + (size_t(colour) * its.height + line * its.stride) * its.width;
                for (int i = begin; i < end; ++i) {
                    Lanes pixels;
                    Isa::lines_of_4(own + (left + i - begin) * its.stride, its.width, pixels.part);
                    Format::put(rows + i * STEM_DEPTH + colour * LANES, pixels + all(-CENTRE));
                }
            }
        });
        write_products<Format>(rows, STEM_DEPTH, count, its.product, STEM_DEPTH, stride, nullptr, nullptr, values);
        alignas(64) float factors[padded(MOST_PIXELS)];
        divide_by_deviations<false>(
            1.0f, count, its.outputs, [&](int i) INLINE { return values + i * stride; }, factors);
        for (int i = 0; i < count; ++i) {
            const float* own = values + i * stride;
            const Lanes factor = all(factors[i]);
            float* to = out + size_t(first + i) * its.outputs;
            for (int c = 0; c < its.outputs; c += LANES) {
                const Lanes weight = load(its.norm + c) * factor, bias = load(its.norm + stride + c);
                store(to + c, fma(load(own + c), weight, bias), its.outputs - c);
            }
        }
    });
}

}  // namespace
}  // namespace lc2fer
