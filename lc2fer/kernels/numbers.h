// What the engines' side and the variants share. Plain structs alone: a variant's object may define no symbol for which
// the linker could take another variant's.
#pragma once

#include <cstddef>
#include <cstdint>

// A call in the middle of a product would put its sums into memory: everything that touches them is inlined.
#define INLINE __attribute__((always_inline))

namespace lc2fer {

constexpr int LANES = 16;
constexpr int TAP = 7, TAPS = TAP * TAP;
constexpr int STEM_KERNEL = 4, STEM_DEPTH = 3 * STEM_KERNEL * STEM_KERNEL;
constexpr int MOST_CHANNELS = 512;  // C of C3 and C7, the widest
constexpr int MOST_PIXELS = 25;     // of a piece of an image: C6's lines of 49 are two
constexpr int MOST_PIECES = 5;      // that go through a product together
constexpr int MOST_KERNEL = 3;
constexpr int MOST_TAPS = 9;      // of a downsample
constexpr float EPSILON = 1e-6f;  // of LayerNorm and of GRN
constexpr float LARGEST_BYTE = 127.0f;
constexpr float LEAST_MAGNITUDE = 1e-30f;  // of a row, so that one of zeros has a step
constexpr float CENTRE = 128.0f;           // of the pixels, as lc2fer/network/fuse.py has it

inline INLINE constexpr int padded(int channels) {
    return (channels + LANES - 1) / LANES * LANES;
}

// A depthwise convolution's taps and bias, [50][padded C] in a file, as the kernels take them: what 16 channels need
// lies together, for the first cache has few places for what lies a pixel apart.
constexpr int TAPS_AND_BIAS = TAPS + 1;
inline INLINE void pack_taps(const float* from, int channels, float* to) {
    for (int c = 0; c < padded(channels); c += LANES)
        for (int tap = 0; tap < TAPS_AND_BIAS; ++tap, to += LANES)
            __builtin_memcpy(to, from + size_t(tap) * padded(channels) + c, LANES * sizeof(float));
}

// An engine's threads: run(its, part, argument, count) calls part(argument, 0) .. part(argument, count - 1), on
// whatever threads and in whatever order.
struct Pool {
    void* its;
    void (*run)(void* its, void (*part)(void* argument, int number), void* argument, int count);
};

struct Product {
    const uint8_t* weights;  // as Kernels::pack wrote them: 64 bytes a step, [outputs / 16][steps][64]
    const int32_t* start;    // of an output's sum where rows are unsigned: -128 times the sum of its weights
    const float* scale;      // of the sums; [padded outputs], like the bias
    const float* bias;
};

struct BlockNumbers {
    int height, width, channels, hidden;
    float inverse_step;      // 1 / step of the expanding product's input; 1 in float
    const float* depthwise;  // [padded C / 16][50][16]: the taps, then the bias
    Product expand;          // of 4C outputs, depth C
    bool by_row;             // each row of the projecting product's input has a step of its own; int8 alone
    const float* response;   // [2][4C]: 1 and gamma, divided by that input's step where there is one for all rows
    Product project;         // of C outputs, depth 4C
};

// The depthwise convolution of `count` pixels of an image from `pixel` on: [count][padded C]. Of float32 alone, so
// variants with the same registers share one.
using Depthwise = void(const BlockNumbers&, const float* x, int pixel, int count, float* out);

struct ConvNumbers {
    int height, width, channels;  // of the input
    int kernel, stride, outputs;
    float inverse_step;
    Product product;    // depth kernel * kernel * C
    const float* norm;  // a stem's [2][padded outputs]: weight and bias of its LayerNorm

    INLINE int high() const { return (height - kernel) / stride + 1; }
    INLINE int across() const { return (width - kernel) / stride + 1; }
};

// The three operations with products in one precision. `scratch` is of scratch_bytes(height, width, hidden), for a
// block.
struct Kernels {
    size_t (*weight_bytes)(size_t panels, size_t depth);  // of packed weights
    void (*pack)(const void* weights, size_t panels, size_t depth,
                 void* to);  // from the file's [panels][depth / n][16][n]
    bool as_in_the_file;     // pack() only copies: weights at a multiple of 64 bytes may stay where they are
    size_t (*scratch_bytes)(int height, int width, int hidden);
    void (*block)(const BlockNumbers&, const Pool&, const float* x, float* out, void* scratch);
    void (*downsample)(const ConvNumbers&, const Pool&, const float* x, float* out);
    void (*stem)(const ConvNumbers&, const Pool&, const float* x, float* out);
};

enum Precision { INT8, BF16, FP32, PRECISIONS };

}  // namespace lc2fer
