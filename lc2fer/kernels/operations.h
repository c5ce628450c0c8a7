// The three operations as an engine meets them: names, inputs, shapes, and how they run. Each has float32 images and
// constants as inputs; what it computes of an image does not depend on those beside it.
#pragma once

#include "dispatch.h"

#include <array>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace lc2fer {

using Shape = std::vector<size_t>;

constexpr size_t MOST_PIXELS_A_SIDE = 4096;

// Of what the constants mean; export/formats/kernels.py writes it. 1 had biases that only rows with a zero-point of 128
// could use, 2 no rows with steps of their own.
constexpr int64_t VERSION = 3;

struct Attributes {
    int64_t version = 1;
    std::string precision = "int8";  // of the products: int8, bf16 or fp32
    float inverse_step = 1.0f;
    int64_t kernel = 2, stride = 2, outputs = 8, by_row = 0;
};

inline void demand(bool holds, const char* expected) {
    if (!holds) throw std::invalid_argument(std::string("expected ") + expected);
}

inline const Kernels* kernels_of(Precision precision) {
    const Chosen its = chosen(precision);
    if (its.kernels == nullptr)
        throw std::invalid_argument(std::string("expected LC2FER_CPU to be one of ") + here().text + ", not " +
                                    std::getenv("LC2FER_CPU"));
    return its.kernels;
}

inline Precision precision_of(const Attributes& its) {
    if (its.precision == "int8") return INT8;
    if (its.precision == "bf16") return BF16;
    demand(its.precision == "fp32", "a precision of int8, bf16 or fp32");
    return FP32;
}

// Weights are 4 bytes of each of 16 outputs after another: [outputs / 16][depth in fours of bytes][16][4].
inline Shape weights(const Attributes& its, size_t outputs, size_t depth) {
    constexpr size_t BYTES[PRECISIONS] = {1, 2, 4};
    return {padded(int(outputs)) / size_t(LANES), depth * BYTES[precision_of(its)] / 4, LANES, 4};
}

// Memory at a multiple of 64 bytes.
class Aligned {
public:
    uint8_t* sized(size_t size) {
        if (m_size < size) {
            m_bytes.reset(new uint8_t[size + 64]);
            m_size = size;
        }
        return m_bytes.get() + (64 - reinterpret_cast<uintptr_t>(m_bytes.get()) % 64) % 64;
    }

private:
    std::unique_ptr<uint8_t[]> m_bytes;
    size_t m_size = 0;
};

// A product's constants, made ready for a variant.
class ReadyProduct {
public:
    // `numbers` is [2][padded outputs]: scale and bias; it has to stay.
    Product make(const Kernels& kernels, Precision precision, const void* weights, int outputs, int depth,
                 const float* numbers) {
        const size_t panels = padded(outputs) / LANES;
        uint8_t* packed = m_weights.sized(kernels.weight_bytes(panels, depth));
        kernels.pack(weights, panels, depth, packed);
        m_start.assign(panels * LANES, 0);
        if (precision == INT8) {
            const int8_t* each = static_cast<const int8_t*>(weights);
            for (size_t panel = 0; panel < panels; ++panel)
                for (int step = 0; step < depth / 4; ++step)
                    for (int lane = 0; lane < LANES; ++lane)
                        for (int i = 0; i < 4; ++i) m_start[panel * LANES + lane] -= 128 * *each++;
        }
        return {packed, m_start.data(), numbers, numbers + panels * LANES};
    }

private:
    Aligned m_weights;
    std::vector<int32_t> m_start;
};

// An operation's constants, behind its image: which of them are bytes, the others being float32; their shapes.
class Block {
public:
    static constexpr char NAME[] = "Block";
    static constexpr bool IN_PLACE = true;  // adds to each pixel what it made of it
    static constexpr std::array<bool, 6> BYTES{false, true, false, false, true, false};

    template <class Visit>
    static void visit(Attributes& its, const Visit& each) {
        each("precision", its.precision);
        each("inverse_step", its.inverse_step);
        each("by_row", its.by_row);
    }

    static std::vector<Shape> constants(const Attributes& its, const Shape& image) {
        demand(its.by_row == 0 || (its.by_row == 1 && its.precision == "int8"), "steps by row, 0 or 1, in int8 alone");
        const size_t channels = image[3], wide = 4 * channels;
        demand(channels <= MOST_CHANNELS && channels % 8 == 0, "an image of 8, 16, 24 .. 512 channels");
        const size_t stride = padded(int(channels));
        return {{TAPS_AND_BIAS, stride},
                weights(its, wide, channels),
                {2, wide},
                {2, wide},
                weights(its, channels, wide),
                {2, stride}};
    }

    static Shape output(const Attributes&, const Shape& image) { return image; }

    void prepare(const Attributes& its, const Shape& image, const std::array<const void*, 6>& constants) {
        const auto floats = [&](int i) { return static_cast<const float*>(constants[i]); };
        const Precision precision = precision_of(its);
        const int channels = int(image[3]), wide = 4 * channels;
        m_kernels = kernels_of(precision);
        float* taps = reinterpret_cast<float*>(m_taps.sized(sizeof(float) * TAPS_AND_BIAS * padded(channels)));
        pack_taps(floats(0), channels, taps);
        m_numbers = {int(image[1]),
                     int(image[2]),
                     channels,
                     wide,
                     its.inverse_step,
                     taps,
                     m_expand.make(*m_kernels, precision, constants[1], wide, channels, floats(2)),
                     its.by_row != 0,
                     floats(3),
                     m_project.make(*m_kernels, precision, constants[4], channels, wide, floats(5))};
    }

    void run(const Pool& pool, const float* x, float* out) const {
        static thread_local Aligned memory;  // one for all blocks that a stream runs in turn
        const size_t bytes = m_kernels->scratch_bytes(m_numbers.height, m_numbers.width, m_numbers.hidden);
        m_kernels->block(m_numbers, pool, x, out, memory.sized(bytes));
    }

private:
    const Kernels* m_kernels;
    Aligned m_taps;
    ReadyProduct m_expand, m_project;
    BlockNumbers m_numbers;
};

// What a downsample and a stem have in common: their constants are weights and numbers.
class Convolution {
public:
    static constexpr std::array<bool, 2> BYTES{true, false};
    static constexpr bool IN_PLACE = false;

    static std::vector<Shape> constants(const Attributes& its, size_t depth, size_t rows) {
        demand(its.outputs >= 8 && its.outputs <= MOST_CHANNELS && its.outputs % 8 == 0, "8, 16, 24 .. 512 channels");
        return {weights(its, its.outputs, depth), {rows, size_t(padded(int(its.outputs)))}};
    }

protected:
    // `size` is that of the input: lines, pixels a line, channels
    void prepare(const Attributes& its, const std::array<size_t, 3>& size, int64_t kernel, int64_t stride,
                 const std::array<const void*, 2>& constants) {
        const Precision precision = precision_of(its);
        const int channels = int(size[2]), outputs = int(its.outputs);
        const float* numbers = static_cast<const float*>(constants[1]);
        m_kernels = kernels_of(precision);
        m_numbers = {
            int(size[0]),
            int(size[1]),
            channels,
            int(kernel),
            int(stride),
            outputs,
            its.inverse_step,
            m_product.make(*m_kernels, precision, constants[0], outputs, int(kernel * kernel) * channels, numbers),
            numbers + 2 * padded(outputs)};
    }

    const Kernels* m_kernels;
    ConvNumbers m_numbers;

private:
    ReadyProduct m_product;
};

class Downsample : public Convolution {
public:
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
        demand(
            its.kernel >= 1 && its.kernel <= MOST_TAPS && taps <= MOST_TAPS && image[1] >= kernel && image[2] >= kernel,
            "a kernel of 1 to 3, and an image not smaller");
        demand(image[3] <= MOST_CHANNELS / 2 && image[3] % 8 == 0, "an image of 8, 16 .. 256 channels");
        return Convolution::constants(its, taps * image[3], 2);
    }

    static Shape output(const Attributes& its, const Shape& image) {
        return {image[0], image[1] / its.kernel, image[2] / its.kernel, size_t(its.outputs)};
    }

    void prepare(const Attributes& its, const Shape& image, const std::array<const void*, 2>& constants) {
        Convolution::prepare(its, {image[1], image[2], image[3]}, its.kernel, its.kernel, constants);
    }

    void run(const Pool& pool, const float* x, float* out) const { m_kernels->downsample(m_numbers, pool, x, out); }
};

class Stem : public Convolution {
public:
    static constexpr char NAME[] = "Stem";

    template <class Visit>
    static void visit(Attributes& its, const Visit& each) {
        each("precision", its.precision);
        each("stride", its.stride);
        each("channels", its.outputs);
    }

    static std::vector<Shape> constants(const Attributes& its, const Shape& image) {
        demand(image[1] == 3 && image[2] >= STEM_KERNEL && image[3] >= STEM_KERNEL,
               "an image of three colours and at least 4 x 4 pixels");
        demand(its.stride >= 1 && its.stride <= int64_t(MOST_PIXELS_A_SIDE), "a stride of 1 to 4096 pixels");
        return Convolution::constants(its, STEM_DEPTH, 4);
    }

    static Shape output(const Attributes& its, const Shape& image) {
        const auto side = [&](size_t size) { return (size - STEM_KERNEL) / size_t(its.stride) + 1; };
        return {image[0], side(image[2]), side(image[3]), size_t(its.outputs)};
    }

    void prepare(const Attributes& its, const Shape& image, const std::array<const void*, 2>& constants) {
        Convolution::prepare(its, {image[2], image[3], 3}, STEM_KERNEL, its.stride, constants);
    }

    void run(const Pool& pool, const float* x, float* out) const { m_kernels->stem(m_numbers, pool, x, out); }
};

// What shares nothing: the thread that calls it does all parts, one after another.
inline Pool alone() {
    return {nullptr, [](void*, void (*part)(void*, int), void* argument, int count) {
                for (int number = 0; number < count; ++number) part(argument, number);
            }};
}

// Runs an operation on images that lie behind each other, `size` and `made` being the floats of one before and after.
// `apart`: an image a thread, which hands nothing over inside of it; else the threads share each image's pixels.
template <class Kind>
void run_images(const Kind& kind, const Pool& pool, bool apart, size_t images, const float* x, size_t size, float* out,
                size_t made) {
    const auto one = [&](const Pool& its, size_t image) { kind.run(its, x + image * size, out + image * made); };
    if (!apart) {
        for (size_t image = 0; image < images; ++image) one(pool, image);
        return;
    }
    using One = decltype(one);
    const auto part = [](void* argument, int image) { (*static_cast<const One*>(argument))(alone(), size_t(image)); };
    pool.run(pool.its, part, const_cast<void*>(static_cast<const void*>(&one)), int(images));
}

inline size_t floats_of_one(const Shape& shape) {
    return shape[1] * shape[2] * shape[3];
}

// The output's shape, its first axis that of `image`; throws std::invalid_argument for an image, or constants, that the
// operation cannot take.
template <class Kind>
Shape checked(const Attributes& its, const Shape& image, const std::vector<Shape>& constants) {
    demand(its.version == VERSION, "operations of version 3, not those of an earlier lc2fer; export it again");
    demand(image.size() == 4, "images [N,.,.,.]");
    for (size_t axis = 1; axis < image.size(); ++axis)
        demand(image[axis] >= 1 && image[axis] <= MOST_PIXELS_A_SIDE, "an image of 1 to 4096 pixels a side");
    demand(constants == Kind::constants(its, image), "constants of the image's and the attributes' shapes");
    kernels_of(precision_of(its));
    return Kind::output(its, image);
}

}  // namespace lc2fer
