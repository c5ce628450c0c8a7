// LC2FER at batch 1 for AVX-512, with products in int8 (VNNI), bfloat16 or float32. What an engine does node by node,
// with the values 4C wide in memory between its nodes, happens here in registers. Float32 images [H][W][C] go in and
// come out.
//
//   stem        LayerNorm(conv(pixels - 128)), from float32 [3][H][W]
//   block       x + project(round(hidden * scale)), hidden = gelu(expand(round(depthwise(x) / deviation)))
//   downsample  conv(round(x / deviation)), its stride being its kernel
//
// round() is that to the products' format: Bytes, Halves or Floats.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace lc2fer {

// A call in the middle of a product would put its sums into memory: everything that touches them is inlined.
#define INLINE __attribute__((always_inline))

constexpr int LANES = 16;
constexpr int TAP = 7, TAPS = TAP * TAP;
constexpr int MOST_ROWS = 8;  // pixels of a tile: their sums of two columns of lanes fill half of the registers
constexpr int MOST_TAPS = 9;  // of a downsample
constexpr int STEM_KERNEL = 4;
constexpr int MOST_CHANNELS = 512;  // C of C3 and C7, the widest
constexpr float EPSILON = 1e-6f;    // of LayerNorm and of GRN
constexpr float CENTRE = 128.0f;    // of the pixels, as lc2fer/network/fuse.py has it
constexpr __mmask16 ALL = 0xffff;

// function(0) .. function(N - 1), each with its number as a constant: an array so indexed is a set of registers.
template <class Function, int... NUMBERS>
inline INLINE void each(const Function& function, std::integer_sequence<int, NUMBERS...>) {
    (function(std::integral_constant<int, NUMBERS>{}), ...);
}
template <int N, class Function>
inline INLINE void each(const Function& function) {
    each(function, std::make_integer_sequence<int, N>{});
}

inline INLINE int padded(int channels) {
    return (channels + LANES - 1) / LANES * LANES;
}

// Weights are 4 bytes of each of 16 outputs after another, STEP values of a row at a time: [outputs / 16][depth / STEP]
// [16][4]. A format's steps and scales are 1 if it has none.
struct BlockNumbers {
    int height, width, channels, hidden;
    float inverse_step;            // 1 / step of the expanding product's input
    const float* depthwise;        // [50][padded C]: a row a tap, then the bias
    const uint8_t* expand;         // of 4C outputs, depth C
    const float* expand_numbers;   // [2][4C]: scale, bias
    const float* response;         // [2][4C]: 1 and gamma, divided by the projecting product's input step
    const uint8_t* project;        // of padded C outputs, depth 4C
    const float* project_numbers;  // [2][padded C]: scale, bias
};

inline INLINE __mmask16 lanes(int channels, int first) {  // of those from `first` on, which exist
    return channels - first >= LANES ? ALL : static_cast<__mmask16>((1 << (channels - first)) - 1);
}

// Of a pixel's channels; their mean is the next layer's to take out.
inline INLINE float deviation(const float* pixel, int channels) {
    __m512 sum = _mm512_setzero_ps(), square = _mm512_setzero_ps();
    for (int c = 0; c < channels; c += LANES) {
        const __m512 value = _mm512_maskz_loadu_ps(lanes(channels, c), pixel + c);
        sum = _mm512_add_ps(sum, value);
        square = _mm512_fmadd_ps(value, value, square);
    }
    const float mean = _mm512_reduce_add_ps(sum) / channels;
    return std::sqrt(std::max(_mm512_reduce_add_ps(square) / channels - mean * mean, 0.0f) + EPSILON);
}

// Of products of few bits: hidden values are kept in float16, and GELU is off by 7.5e-5 at most.
struct Short {
    using Hidden = uint16_t;
    static constexpr float GELU_BOUND = 4.2f;
    static constexpr float GELU[] = {0.16785454f,  -0.0815715061f, 0.0559487312f, -0.0379262363f,
                                     0.023777651f, -0.0164670046f, 0.0111758252f, -0.00374440785f};
};

// Of products that are summed in float32.
struct FloatSums {
    using Sums = __m512;
    static INLINE Sums zero() { return _mm512_setzero_ps(); }
    static INLINE __m512 floats(Sums sums) { return sums; }
};

// Around the intrinsics of VPDPBUSD and VDPBF16PS, GCC 12 copies each sum to and fro; so they add in place.

// Unsigned with zero-point 128, the weights signed; the biases of export/formats/kernels.py take the 128 back.
struct Bytes : Short {
    using Value = uint8_t;
    using Sums = __m512i;
    static constexpr int STEP = 4;

    static INLINE Sums zero() { return _mm512_setzero_si512(); }
    static INLINE Sums add(Sums sums, __m512i rows, __m512i weights) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(rows), "v"(weights));
        return sums;
    }
    static INLINE __m512 floats(Sums sums) { return _mm512_cvtepi32_ps(sums); }
    static INLINE void put(Value* to, __mmask16 mask, __m512 x) {  // half to even, clipped to -128..127, plus 128
        const __m128i signed_bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x));
        _mm_mask_storeu_epi8(to, mask, _mm_xor_si128(signed_bytes, _mm_set1_epi8(static_cast<char>(0x80))));
    }
};

// bfloat16; subnormals count as zero.
struct Halves : Short, FloatSums {
    using Value = uint16_t;
    static constexpr int STEP = 2;

    static INLINE Sums add(Sums sums, __m512i rows, __m512i weights) {
        asm("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(rows), "v"(weights));
        return sums;
    }
    static INLINE void put(Value* to, __mmask16 mask, __m512 x) {
        _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(x));
    }
};

struct Floats : FloatSums {
    static constexpr float GELU_BOUND = 5.1f;  // off by 1e-6 at most
    static constexpr float GELU[] = {0.138605283f,   -0.0690032603f,  0.050782957f,   -0.0402186584f, 0.0317160251f,
                                     -0.0240164695f, 0.0174654839f,   -0.0120242483f, 0.00685993478f, -0.00322963438f,
                                     0.00240441551f, -0.00195682617f, 0.000654198417f};
    using Value = float;
    using Hidden = float;
    static constexpr int STEP = 1;

    static INLINE Sums add(Sums sums, __m512i rows, __m512i weights) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(rows), _mm512_castsi512_ps(weights), sums);
    }
    static INLINE void put(Value* to, __mmask16 mask, __m512 x) { _mm512_mask_storeu_ps(to, mask, x); }
};

// x * Phi(x). Phi - 1/2 is x times a polynomial of t, -1 to 1 while |x| grows from 0 to a bound, beyond which it stays.
template <class Format>
inline INLINE __m512 gelu(__m512 x) {
    constexpr float BOUND = Format::GELU_BOUND;
    constexpr int TERMS = sizeof(Format::GELU) / sizeof(float);
    const __m512 bound = _mm512_set1_ps(BOUND);
    const __m512 near = _mm512_max_ps(_mm512_min_ps(x, bound), _mm512_sub_ps(_mm512_setzero_ps(), bound));
    const __m512 t =
        _mm512_fmadd_ps(_mm512_mul_ps(near, near), _mm512_set1_ps(2 / (BOUND * BOUND)), _mm512_set1_ps(-1));
    __m512 sum = _mm512_set1_ps(Format::GELU[TERMS - 1]);
    each<TERMS - 1>([&](auto i) INLINE { sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(Format::GELU[TERMS - 2 - i])); });
    return _mm512_mul_ps(x, _mm512_fmadd_ps(sum, near, _mm512_set1_ps(0.5f)));
}

inline INLINE void keep(uint16_t* to, __m512 x) {  // as float16
    const __m256i halves = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
}
inline INLINE void keep(float* to, __m512 x) {
    _mm512_storeu_ps(to, x);
}
inline INLINE __m512 kept(const uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline INLINE __m512 kept(const float* from) {
    return _mm512_loadu_ps(from);
}

// sums[ROWS][COLUMNS] over `steps` steps of each row and the weights of 16 * COLUMNS outputs; `at` gives a step's place
// in a row.
template <class Format, int ROWS, int COLUMNS, class At>
inline INLINE void product(const typename Format::Value* rows, int stride, const uint8_t* weights, int steps,
                           const At& at, typename Format::Sums (&sums)[ROWS][COLUMNS]) {
    each<ROWS>([&](auto m) INLINE { each<COLUMNS>([&](auto n) INLINE { sums[m][n] = Format::zero(); }); });
    for (int step = 0; step < steps; ++step) {
        __m512i weight[COLUMNS];
        each<COLUMNS>([&](auto n)
                          INLINE { weight[n] = _mm512_loadu_si512(weights + (size_t(n) * steps + step) * 64); });
        const typename Format::Value* column = rows + at(step);
        each<ROWS>([&](auto m) INLINE {
            int four;
            std::memcpy(&four, column + m * stride, 4);
            const __m512i value = _mm512_set1_epi32(four);
            each<COLUMNS>([&](auto n) INLINE { sums[m][n] = Format::add(sums[m][n], value, weight[n]); });
        });
    }
}

// The products with all `outputs`: finish(first output, mask, sums[ROWS], as floats) for each 16 of them.
template <class Format, int ROWS, class At, class Finish>
inline INLINE void products(const typename Format::Value* rows, int stride, const uint8_t* weights, int depth,
                            int outputs, const At& at, const Finish& finish) {
    const int steps = depth / Format::STEP;
    const auto columns = [&](int n, auto count) INLINE {
        typename Format::Sums sums[ROWS][count()];
        product<Format, ROWS, count()>(rows, stride, weights + size_t(n) * steps * 4, steps, at, sums);
        each<count()>([&](auto column) INLINE {
            const int first = n + column * LANES;
            __m512 own[ROWS];
            each<ROWS>([&](auto m) INLINE { own[m] = Format::floats(sums[m][column]); });
            finish(first, lanes(outputs, first), own);
        });
    };
    int n = 0;
    for (; n + LANES < outputs; n += 2 * LANES) columns(n, std::integral_constant<int, 2>{});
    if (n < outputs) columns(n, std::integral_constant<int, 1>{});
}

template <class Format>
inline int in_order(int step) {
    return step * Format::STEP;
}

// Of COUNT pixels of a line from `left` on: [COUNT][padded C].
template <int COUNT>
void depthwise(const BlockNumbers& block, const float* x, int line, int left, float* out) {
    const int channels = block.channels, stride = padded(channels);
    for (int c = 0; c < channels; c += LANES) {
        const __mmask16 mask = lanes(channels, c);
        __m512 sums[COUNT];
        each<COUNT>([&](auto i) INLINE { sums[i] = _mm512_loadu_ps(block.depthwise + TAPS * stride + c); });
        for (int ky = 0; ky < TAP; ++ky) {
            const int y = line + ky - TAP / 2;
            if (y < 0 || y >= block.height) continue;
            __m512 taps[TAP];
            each<TAP>([&](auto k) INLINE { taps[k] = _mm512_loadu_ps(block.depthwise + (ky * TAP + k) * stride + c); });
            each<COUNT + TAP - 1>([&](auto j) INLINE {
                const int at = left + j - TAP / 2;
                if (at < 0 || at >= block.width) return;
                const __m512 value = _mm512_maskz_loadu_ps(mask, x + (size_t(y) * block.width + at) * channels + c);
                each<TAP>([&](auto k) INLINE {
                    constexpr int i = j - k;
                    if constexpr (i >= 0 && i < COUNT) sums[i] = _mm512_fmadd_ps(value, taps[k], sums[i]);
                });
            });
        }
        each<COUNT>([&](auto i) INLINE { _mm512_storeu_ps(out + i * stride + c, sums[i]); });
    }
}

// Hidden values [COUNT][4C] of COUNT pixels of a line; adds their squares to squares[4C].
template <class Format, int COUNT>
void first_half(const BlockNumbers& block, const float* x, int line, int left, typename Format::Hidden* hidden,
                float* squares) {
    const int channels = block.channels, stride = padded(channels), wide = block.hidden;
    alignas(64) float values[COUNT * MOST_CHANNELS];
    alignas(64) typename Format::Value rows[COUNT * MOST_CHANNELS];
    depthwise<COUNT>(block, x, line, left, values);
    for (int i = 0; i < COUNT; ++i) {
        const float* pixel = values + i * stride;
        const __m512 factor = _mm512_set1_ps(block.inverse_step / deviation(pixel, channels));
        for (int c = 0; c < stride; c += LANES)
            Format::put(rows + i * stride + c, ALL, _mm512_mul_ps(_mm512_load_ps(pixel + c), factor));
    }
    const auto finish = [&](int at, __mmask16, const auto& sums) INLINE {
        const __m512 scale = _mm512_loadu_ps(block.expand_numbers + at);
        const __m512 bias = _mm512_loadu_ps(block.expand_numbers + wide + at);
        __m512 square = _mm512_loadu_ps(squares + at);
        each<COUNT>([&](auto i) INLINE {
            const __m512 value = gelu<Format>(_mm512_fmadd_ps(sums[i], scale, bias));
            square = _mm512_fmadd_ps(value, value, square);
            keep(hidden + size_t(i) * wide + at, value);
        });
        _mm512_storeu_ps(squares + at, square);
    };
    products<Format, COUNT>(rows, stride, block.expand, channels, wide, in_order<Format>, finish);
}

// out[COUNT][C] = x[COUNT][C] + the projection of hidden[COUNT][4C] * scale[4C].
template <class Format, int COUNT>
void second_half(const BlockNumbers& block, const float* x, const typename Format::Hidden* hidden, const float* scale,
                 float* out) {
    const int channels = block.channels, stride = padded(channels), wide = block.hidden;
    alignas(64) typename Format::Value rows[COUNT * 4 * MOST_CHANNELS];
    for (int i = 0; i < COUNT; ++i)
        for (int e = 0; e < wide; e += LANES) {
            const size_t at = size_t(i) * wide + e;
            Format::put(rows + at, ALL, _mm512_mul_ps(kept(hidden + at), _mm512_loadu_ps(scale + e)));
        }
    const auto finish = [&](int at, __mmask16 mask, const auto& sums) INLINE {
        const __m512 factor = _mm512_loadu_ps(block.project_numbers + at);
        const __m512 bias = _mm512_loadu_ps(block.project_numbers + stride + at);
        each<COUNT>([&](auto i) INLINE {
            const __m512 value = _mm512_fmadd_ps(sums[i], factor, bias);
            const __m512 beside = _mm512_maskz_loadu_ps(mask, x + size_t(i) * channels + at);
            _mm512_mask_storeu_ps(out + size_t(i) * channels + at, mask, _mm512_add_ps(value, beside));
        });
    };
    products<Format, COUNT>(rows, wide, block.project, wide, channels, in_order<Format>, finish);
}

// function(count) with the count, 1 to MOST_ROWS, as a constant.
template <class Function>
void with_count(int count, const Function& function) {
    each<MOST_ROWS>([&](auto i) {
        if (count == i + 1) function(std::integral_constant<int, i + 1>{});
    });
}

// Shares 0..count among an engine's threads, the same way each time: what a core wrote in one half it reads in the
// next. `pool` has their number, `threads`, and run(function), which calls function(0) .. function(threads - 1).
template <class Pool, class Function>
void share(int count, const Pool& pool, const Function& function) {
    const int threads = pool.threads;
    const auto part = [&](int thread) {
        function(thread, int(int64_t(count) * thread / threads), int(int64_t(count) * (thread + 1) / threads));
    };
    if (threads == 1) return part(0);
    pool.run(part);
}

// A tile is some pixels of a line: function(thread, line, left, count).
template <class Pool, class Function>
void tiles(int height, int width, const Pool& pool, const Function& function) {
    const int across = (width + MOST_ROWS - 1) / MOST_ROWS;
    share(height * across, pool, [&](int thread, int begin, int end) {
        for (int unit = begin; unit < end; ++unit) {
            const int line = unit / across, tile = unit % across;
            const int left = width * tile / across;
            with_count(width * (tile + 1) / across - left, [&](auto count) { function(thread, line, left, count); });
        }
    });
}

template <class Format, class Pool>
void run_block(const BlockNumbers& block, const Pool& pool, const float* x, float* out) {
    const int wide = block.hidden, pixels = block.height * block.width, threads = pool.threads;
    using Hidden = typename Format::Hidden;
    static thread_local std::vector<Hidden> hidden_values;  // one for all blocks that a stream runs in turn
    static thread_local std::vector<float> sums;
    hidden_values.resize(std::max(hidden_values.size(), size_t(pixels) * wide));
    sums.assign(size_t(threads) * wide, 0.0f);
    Hidden* hidden = hidden_values.data();  // the workers have vectors of their own by that name
    float* squares = sums.data();

    tiles(block.height, block.width, pool, [&](int thread, int line, int left, auto count) {
        first_half<Format, count()>(block, x, line, left, hidden + (size_t(line) * block.width + left) * wide,
                                    squares + size_t(thread) * wide);
    });

    float total = 0.0f;
    for (int e = 0; e < wide; ++e) {
        for (int thread = 1; thread < threads; ++thread) squares[e] += squares[size_t(thread) * wide + e];
        squares[e] = std::sqrt(squares[e]);
        total += squares[e];
    }
    const float inverse = 1.0f / (total / wide + EPSILON);
    for (int e = 0; e < wide; ++e) squares[e] = block.response[e] + block.response[wide + e] * (squares[e] * inverse);

    tiles(block.height, block.width, pool, [&](int, int line, int left, auto count) {
        const size_t pixel = size_t(line) * block.width + left, at = pixel * block.channels;
        second_half<Format, count()>(block, x + at, hidden + pixel * wide, squares, out + at);
    });
}

struct ConvNumbers {
    int height, width, channels;  // of the input
    int kernel, stride, outputs;
    float inverse_step;      // 1 / step of the product's input
    const uint8_t* weights;  // of padded C_out outputs, depth kernel * kernel * C
    const float* numbers;    // [2][padded C_out]: scale, bias; a stem's LayerNorm has [4]: weight and bias too

    int high() const { return (height - kernel) / stride + 1; }
    int across() const { return (width - kernel) / stride + 1; }
};

template <class Format, int COUNT>
void downsample(const ConvNumbers& conv, const float* x, int line, int left, float* out) {
    const int channels = conv.channels, depth = conv.kernel * conv.kernel * channels;
    alignas(64) typename Format::Value rows[COUNT * MOST_TAPS * MOST_CHANNELS / 2];
    for (int i = 0; i < COUNT; ++i) {
        typename Format::Value* row = rows + i * depth;
        for (int ky = 0; ky < conv.kernel; ++ky)
            for (int kx = 0; kx < conv.kernel; ++kx, row += channels) {
                const size_t at = size_t(line * conv.kernel + ky) * conv.width + (left + i) * conv.kernel + kx;
                const float* pixel = x + at * channels;
                const __m512 factor = _mm512_set1_ps(conv.inverse_step / deviation(pixel, channels));
                for (int c = 0; c < channels; c += LANES) {
                    const __mmask16 mask = lanes(channels, c);
                    Format::put(row + c, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, pixel + c), factor));
                }
            }
    }
    const int stride = padded(conv.outputs);
    float* pixels = out + (size_t(line) * conv.across() + left) * conv.outputs;
    const auto finish = [&](int at, __mmask16 mask, const auto& sums) INLINE {
        const __m512 scale = _mm512_loadu_ps(conv.numbers + at), bias = _mm512_loadu_ps(conv.numbers + stride + at);
        each<COUNT>([&](auto i) INLINE {
            _mm512_mask_storeu_ps(pixels + size_t(i) * conv.outputs + at, mask, _mm512_fmadd_ps(sums[i], scale, bias));
        });
    };
    products<Format, COUNT>(rows, depth, conv.weights, depth, conv.outputs, in_order<Format>, finish);
}

// `image` is [3][H][W]; a step takes neighbours of a line.
template <class Format, int COUNT>
void stem(const ConvNumbers& conv, const typename Format::Value* image, int line, int left, float* out) {
    const int outputs = conv.outputs, stride = padded(outputs), plane = conv.height * conv.width;
    const auto* corner = image + line * conv.stride * conv.width + left * conv.stride;
    float* pixels = out + (size_t(line) * conv.across() + left) * outputs;
    __m512 squares[COUNT];
    each<COUNT>([&](auto i) INLINE { squares[i] = _mm512_setzero_ps(); });
    const auto place = [&](int step) INLINE {
        const int tap = step * Format::STEP, row = tap / STEM_KERNEL;
        return row / STEM_KERNEL * plane + row % STEM_KERNEL * conv.width + tap % STEM_KERNEL;
    };
    const auto finish = [&](int at, __mmask16 mask, const auto& sums) INLINE {
        const __m512 scale = _mm512_loadu_ps(conv.numbers + at), bias = _mm512_loadu_ps(conv.numbers + stride + at);
        each<COUNT>([&](auto i) INLINE {
            const __m512 value = _mm512_maskz_fmadd_ps(mask, sums[i], scale, bias);
            squares[i] = _mm512_fmadd_ps(value, value, squares[i]);
            _mm512_mask_storeu_ps(pixels + size_t(i) * outputs + at, mask, value);
        });
    };
    products<Format, COUNT>(corner, conv.stride, conv.weights, 3 * STEM_KERNEL * STEM_KERNEL, outputs, place, finish);
    for (int i = 0; i < COUNT; ++i) {
        const __m512 factor = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares[i]) / outputs + EPSILON));
        for (int c = 0; c < outputs; c += LANES) {
            const __mmask16 mask = lanes(outputs, c);
            const __m512 weight = _mm512_mul_ps(_mm512_loadu_ps(conv.numbers + 2 * stride + c), factor);
            float* value = pixels + size_t(i) * outputs + c;
            _mm512_mask_storeu_ps(value, mask,
                                  _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, value), weight,
                                                  _mm512_loadu_ps(conv.numbers + 3 * stride + c)));
        }
    }
}

template <class Format, class Pool>
void run_downsample(const ConvNumbers& conv, const Pool& pool, const float* x, float* out) {
    tiles(conv.high(), conv.across(), pool,
          [&](int, int line, int left, auto count) { downsample<Format, count()>(conv, x, line, left, out); });
}

template <class Format, class Pool>
void run_stem(const ConvNumbers& conv, const Pool& pool, const float* x, float* out) {
    static thread_local std::vector<typename Format::Value> buffer;
    const int values = 3 * conv.height * conv.width;
    buffer.resize(std::max(buffer.size(), size_t(values)));
    auto* image = buffer.data();
    for (int i = 0; i < values; i += LANES) {
        const __mmask16 mask = lanes(values, i);
        Format::put(image + i, mask, _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(CENTRE)));
    }
    tiles(conv.high(), conv.across(), pool,
          [&](int, int line, int left, auto count) { stem<Format, count()>(conv, image, line, left, out); });
}

}  // namespace lc2fer
