// The three operations as an engine meets them: names, inputs, shapes, and how they run. Each has one float32 image and
// constants as inputs.
#pragma once

#include "kernels.h"

#include <array>
#include <stdexcept>
#include <string>

namespace lc2fer {

using Shape = std::vector<size_t>;

constexpr size_t MOST_PIXELS = 4096;  // a side

struct Attributes {
    std::string precision = "int8";  // of the products: int8, bf16 or fp32
    float inverse_step = 1.0f;
    int64_t kernel = 2, stride = 2, outputs = 8;
};

inline void demand(bool holds, const char* expected) {
    if (!holds) throw std::invalid_argument(std::string("expected ") + expected);
}

// function(Format)
template <class Function>
void in_format(const Attributes& its, const Function& function) {
    if (its.precision == "int8") return function(Bytes{});
    if (its.precision == "bf16") return function(Halves{});
    demand(its.precision == "fp32", "a precision of int8, bf16 or fp32");
    function(Floats{});
}

inline Shape weights(const Attributes& its, size_t outputs, size_t depth) {
    size_t steps = 0;
    in_format(its, [&](auto format) { steps = depth / format.STEP; });
    return {padded(int(outputs)) / size_t(LANES), steps, LANES, 4};
}

// An operation's constants, behind its image: which of them are bytes, the others being float32; their shapes.
struct Block {
    static constexpr char NAME[] = "Block";
    static constexpr std::array<bool, 6> BYTES{false, true, false, false, true, false};

    template <class Visit>
    static void visit(Attributes& its, const Visit& each) {
        each("precision", its.precision);
        each("inverse_step", its.inverse_step);
    }

    static std::vector<Shape> constants(const Attributes& its, const Shape& image) {
        const size_t channels = image[3], wide = 4 * channels, stride = padded(int(channels));
        demand(channels <= MOST_CHANNELS && channels % 8 == 0, "an image of 8, 16, 24 .. 512 channels");
        return {{TAPS + 1, stride}, weights(its, wide, channels), {2, wide},
                {2, wide},          weights(its, channels, wide), {2, stride}};
    }

    static Shape output(const Attributes&, const Shape& image) { return image; }

    template <class Pool>
    static void run(const Attributes& its, const Shape& image, const std::array<const void*, 6>& constants,
                    const Pool& pool, const float* x, float* out) {
        const int channels = int(image[3]);
        const BlockNumbers numbers{int(image[1]),
                                   int(image[2]),
                                   channels,
                                   4 * channels,
                                   its.inverse_step,
                                   static_cast<const float*>(constants[0]),
                                   static_cast<const uint8_t*>(constants[1]),
                                   static_cast<const float*>(constants[2]),
                                   static_cast<const float*>(constants[3]),
                                   static_cast<const uint8_t*>(constants[4]),
                                   static_cast<const float*>(constants[5])};
        in_format(its, [&](auto format) { run_block<decltype(format)>(numbers, pool, x, out); });
    }
};

// What a downsample and a stem have in common: their constants are weights and numbers.
struct Convolution {
    static constexpr std::array<bool, 2> BYTES{true, false};

    static std::vector<Shape> constants(const Attributes& its, size_t depth, size_t rows) {
        return {weights(its, its.outputs, depth), {rows, size_t(padded(int(its.outputs)))}};
    }

    static ConvNumbers numbers(const Attributes& its, size_t height, size_t width, size_t channels, int64_t kernel,
                               int64_t stride, const std::array<const void*, 2>& constants) {
        return {int(height),
                int(width),
                int(channels),
                int(kernel),
                int(stride),
                int(its.outputs),
                its.inverse_step,
                static_cast<const uint8_t*>(constants[0]),
                static_cast<const float*>(constants[1])};
    }
};

struct Downsample : Convolution {
    static constexpr char NAME[] = "Downsample";

    template <class Visit>
    static void visit(Attributes& its, const Visit& each) {
        each("precision", its.precision);
        each("inverse_step", its.inverse_step);
        each("kernel", its.kernel);
        each("channels", its.outputs);
    }

    static std::vector<Shape> constants(const Attributes& its, const Shape& image) {
        const size_t kernel = its.kernel, taps = kernel * kernel;
        demand(its.kernel >= 1 && taps <= MOST_TAPS && image[1] >= kernel && image[2] >= kernel,
               "a kernel of 1 to 3, and an image not smaller");
        demand(image[3] <= MOST_CHANNELS / 2 && image[3] % 8 == 0, "an image of 8, 16 .. 256 channels");
        return Convolution::constants(its, taps * image[3], 2);
    }

    static Shape output(const Attributes& its, const Shape& image) {
        return {1, image[1] / its.kernel, image[2] / its.kernel, size_t(its.outputs)};
    }

    template <class Pool>
    static void run(const Attributes& its, const Shape& image, const std::array<const void*, 2>& constants,
                    const Pool& pool, const float* x, float* out) {
        const auto numbers = Convolution::numbers(its, image[1], image[2], image[3], its.kernel, its.kernel, constants);
        in_format(its, [&](auto format) { run_downsample<decltype(format)>(numbers, pool, x, out); });
    }
};

struct Stem : Convolution {
    static constexpr char NAME[] = "Stem";

    template <class Visit>
    static void visit(Attributes& its, const Visit& each) {
        each("precision", its.precision);
        each("stride", its.stride);
        each("channels", its.outputs);
    }

    static std::vector<Shape> constants(const Attributes& its, const Shape& image) {
        demand(image[1] == 3 && image[2] >= STEM_KERNEL && image[3] >= STEM_KERNEL && its.stride >= 1,
               "an image of three colours and at least 4 x 4 pixels");
        return Convolution::constants(its, 3 * STEM_KERNEL * STEM_KERNEL, 4);
    }

    static Shape output(const Attributes& its, const Shape& image) {
        const auto side = [&](size_t size) { return (size - STEM_KERNEL) / size_t(its.stride) + 1; };
        return {1, side(image[2]), side(image[3]), size_t(its.outputs)};
    }

    template <class Pool>
    static void run(const Attributes& its, const Shape& image, const std::array<const void*, 2>& constants,
                    const Pool& pool, const float* x, float* out) {
        const auto numbers = Convolution::numbers(its, image[2], image[3], 3, STEM_KERNEL, its.stride, constants);
        in_format(its, [&](auto format) { run_stem<decltype(format)>(numbers, pool, x, out); });
    }
};

// The output's shape; throws std::invalid_argument for an image, or constants, that the operation cannot take.
template <class Kind>
Shape checked(const Attributes& its, const Shape& image, const std::vector<Shape>& constants) {
    demand(image.size() == 4 && image[0] == 1, "an image [1,.,.,.]");
    for (const size_t size : image) demand(size >= 1 && size <= MOST_PIXELS, "an image of 1 to 4096 pixels a side");
    demand(constants == Kind::constants(its, image), "constants of the image's and the attributes' shapes");
    return Kind::output(its, image);
}

}  // namespace lc2fer
