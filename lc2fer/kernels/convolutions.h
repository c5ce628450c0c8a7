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
        alignas(64) Value rows[MOST_PIXELS * MOST_TAPS * MOST_CHANNELS / 2 + LANES];  // the last 16 may be written past
        Value* row = rows;
        for (int pixel = first; pixel < first + count; ++pixel)
            for (int tap = 0; tap < kernel * kernel; ++tap, row += channels) {
                const int line = pixel / across * kernel + tap / kernel, left = pixel % across * kernel + tap % kernel;
                const float* own = x + (size_t(line) * its.width + left) * channels;
                const Lanes factor = all(its.inverse_step / deviation(own, channels));
                for (int c = 0; c < channels; c += LANES) Format::put(row + c, load(own + c, channels - c) * factor);
            }
        write_products<Format>(rows, depth, count, its.product, depth, its.outputs, nullptr,
                               out + size_t(first) * its.outputs);
    });
}

// LayerNorm(conv(pixels - 128)), 4 x 4, its mean in the product: [3][H][W] -> [..][..][outputs]
template <class Format>
void stem(const ConvNumbers& its, const Pool& pool, const float* image, float* out) {
    const int across = its.across(), stride = padded(its.outputs);
    share_pieces({its.high(), across}, pool, [&](int first, int count) {
        alignas(64) typename Format::Value rows[MOST_PIXELS * STEM_DEPTH];
        alignas(64) float values[MOST_PIXELS * MOST_CHANNELS];
        for (int i = 0; i < count; ++i)
            for (int colour = 0; colour < 3; ++colour) {
                const int line = colour * its.height + (first + i) / across * its.stride;
                Lanes pixels;
                Isa::lines_of_4(image + size_t(line) * its.width + (first + i) % across * its.stride, its.width,
                                pixels.part);
                Format::put(rows + i * STEM_DEPTH + colour * LANES, pixels + all(-CENTRE));
            }
        write_products<Format>(rows, STEM_DEPTH, count, its.product, STEM_DEPTH, stride, nullptr, values);
        for (int i = 0; i < count; ++i) {
            const float* own = values + i * stride;
            Lanes square = all(0.0f);
            for (int c = 0; c < stride; c += LANES) square = fma(load(own + c), load(own + c), square);
            const Lanes factor = all(1.0f / __builtin_sqrtf(Isa::reduce(square.part) / its.outputs + EPSILON));
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
