// Runs the operations without an engine on numbers from a seed and prints a hash of what comes out: harness THREADS...
//
//   int8 avx2 2 0123456789abcdef        precision, variant, threads, FNV-1a of all outputs
//
// for each variant that this processor runs; without THREADS the names of those. `harness brief THREADS...` leaves out
// that an image's bits are the same beside others, which takes an emulator seven times as long. The shapes take every
// way through the kernels: channels that fill no panel of 16 or no tile of AMX, lines longer and shorter than a piece,
// more pieces than go through a product together, every kernel and stride.
#include "../../lc2fer/kernels/operations.h"
#include "pool.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

using namespace lc2fer;

struct Random {
    uint64_t state;

    uint64_t bits() {  // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return (state * 0x2545f4914f6cdd1dull) >> 32;
    }
    float between(float least, float most) { return least + (most - least) * float(bits() >> 8) * 0x1p-24f; }
};

constexpr float STEPS = 40;  // of int8 to a deviation

std::vector<uint8_t> random_weights(Random& random, Precision precision, int outputs, int depth) {
    constexpr int BYTES[PRECISIONS] = {1, 2, 4};
    const int bytes = BYTES[precision], step = 4 / bytes;
    std::vector<uint8_t> weights(size_t(padded(outputs)) * depth * bytes);
    for (int output = 0; output < outputs; ++output)
        for (int d = 0; d < depth; ++d) {
            const size_t at = ((size_t(output / LANES) * (depth / step) + d / step) * LANES + output % LANES) * step;
            uint8_t* to = weights.data() + (at + d % step) * bytes;
            const float real = random.between(-1, 1);
            uint32_t bits;
            std::memcpy(&bits, &real, 4);
            if (precision == INT8) *to = uint8_t(int8_t(std::lround(real * 127)));
            if (precision == BF16) std::memcpy(to, reinterpret_cast<const char*>(&bits) + 2, 2);
            if (precision == FP32) std::memcpy(to, &bits, 4);
        }
    return weights;
}

// [rows][padded outputs], the first between the given bounds, the others between -1 and 1
std::vector<float> random_rows(Random& random, int rows, int outputs, float least, float most) {
    std::vector<float> numbers(size_t(rows) * padded(outputs));
    for (int row = 0; row < rows; ++row)
        for (int output = 0; output < outputs; ++output)
            numbers[row * padded(outputs) + output] = row == 0 ? random.between(least, most) : random.between(-1, 1);
    return numbers;
}

bool brief = false;

struct Case {
    Random random;
    Precision precision;
    Attributes its;
    Pool pool;
    uint64_t& hash;

    Case(uint64_t seed, Precision precision, const Pool& pool, uint64_t& hash)
        : random{seed}, precision(precision), pool(pool), hash(hash) {
        constexpr const char* NAMES[PRECISIONS] = {"int8", "bf16", "fp32"};
        its.version = VERSION;
        its.precision = NAMES[precision];
        its.inverse_step = precision == INT8 ? STEPS : 1.0f;
    }

    Case& by_row() {
        its.by_row = precision == INT8;
        return *this;
    }

    float scale(int depth) const {  // brings sums to about 1
        return (precision == INT8 ? 1 / (127 * STEPS) : 1.0f) * 2 / std::sqrt(float(depth));
    }

    template <class Kind, size_t COUNT>
    void operator()(Kind&& kind, const Shape& image, float least, float most, const std::vector<Shape>& shapes,
                    const std::array<const void*, COUNT>& constants) {
        const Shape output = checked<std::decay_t<Kind>>(its, image, shapes);
        std::vector<float> x(image[0] * image[1] * image[2] * image[3]);
        std::vector<float> out(output[0] * output[1] * output[2] * output[3]);
        for (float& value : x) value = random.between(least, most);
        kind.prepare(its, image, constants);
        kind.run(pool, x.data(), out.data());
        if (!brief) check_batches(kind, x, out);
        for (const float value : out) {
            uint32_t bits;
            std::memcpy(&bits, &value, 4);
            for (int i = 0; i < 4; ++i) hash = (hash ^ (bits >> 8 * i & 255)) * 1099511628211ull;
        }
    }

    // An image's bits are the same beside others, whichever way these are shared.
    template <class Kind>
    void check_batches(const Kind& kind, const std::vector<float>& x, const std::vector<float>& out) {
        constexpr size_t IMAGES = 3;
        std::vector<float> many(IMAGES * x.size(), 1.0f), made(IMAGES * out.size());
        std::memcpy(many.data() + x.size(), x.data(), x.size() * sizeof(float));
        for (const bool apart : {false, true}) {
            std::fill(made.begin(), made.end(), 0.0f);
            run_images(kind, pool, apart, IMAGES, many.data(), x.size(), made.data(), out.size());
            if (std::memcmp(made.data() + out.size(), out.data(), out.size() * sizeof(float)) != 0 ||
                std::memcmp(made.data(), made.data() + 2 * out.size(), out.size() * sizeof(float)) != 0)
                hash = 0;
        }
    }

    void block(size_t height, size_t width, int channels) {
        const int wide = 4 * channels;
        const auto depthwise = random_rows(random, TAPS + 1, channels, -1, 1);
        const auto expand = random_weights(random, precision, wide, channels);
        const auto of_expand = random_rows(random, 2, wide, scale(channels) / 2, scale(channels));
        auto response = random_rows(random, 2, wide, 0.5f, 1.5f);
        if (precision == INT8)
            for (float& value : response) value *= STEPS;
        const auto project = random_weights(random, precision, channels, wide);
        const auto of_project = random_rows(random, 2, channels, scale(wide) / 2, scale(wide));
        const Shape image{1, height, width, size_t(channels)};
        (*this)(Block{}, image, -2, 2, Block::constants(its, image),
                std::array<const void*, 6>{depthwise.data(), expand.data(), of_expand.data(), response.data(),
                                           project.data(), of_project.data()});
    }

    void downsample(size_t height, size_t width, int channels, int kernel, int outputs) {
        its.kernel = kernel;
        its.outputs = outputs;
        const int depth = kernel * kernel * channels;
        const auto weights = random_weights(random, precision, outputs, depth);
        const auto numbers = random_rows(random, 2, outputs, scale(depth) / 2, scale(depth));
        const Shape image{1, height, width, size_t(channels)};
        (*this)(Downsample{}, image, -2, 2, Downsample::constants(its, image),
                std::array<const void*, 2>{weights.data(), numbers.data()});
    }

    void stem(size_t height, size_t width, int stride, int outputs) {
        its.stride = stride;
        its.outputs = outputs;
        const auto weights = random_weights(random, precision, outputs, STEM_DEPTH);
        const auto numbers = random_rows(random, 4, outputs, scale(STEM_DEPTH) / 80, scale(STEM_DEPTH) / 40);
        const Shape image{1, 3, height, width};
        (*this)(Stem{}, image, -20, 270, Stem::constants(its, image),
                std::array<const void*, 2>{weights.data(), numbers.data()});
    }
};

uint64_t hash_of(Precision precision, int threads) {
    uint64_t hash = 14695981039346656037ull;
    const Pool pool{&threads, run};
    const auto with = [&](uint64_t seed) { return Case(seed, precision, pool, hash); };
    with(1).stem(25, 62, 2, 40);
    with(2).stem(29, 20, 4, 64);
    with(3).block(7, 27, 40);
    with(4).block(6, 24, 64);
    with(5).block(3, 5, 128);
    with(6).block(1, 1, 72);
    with(7).downsample(9, 13, 40, 2, 80);
    with(8).downsample(10, 7, 64, 3, 128);
    with(9).downsample(3, 3, 24, 1, 8);
    with(10).block(75, 26, 16);
    with(11).by_row().block(4, 27, 40);
    with(12).by_row().block(2, 3, 136);
    return hash;
}

int main(int count, char** arguments) {
    constexpr const char* NAMES[PRECISIONS] = {"int8", "bf16", "fp32"};
    if (count == 1) std::puts(here().text);
    brief = count > 1 && std::strcmp(arguments[1], "brief") == 0;
    std::istringstream names(here().text);
    for (std::string name; names >> name;) {
        setenv("LC2FER_CPU", name.c_str(), 1);
        for (int precision = 0; precision < PRECISIONS; ++precision) {
            if (chosen(Precision(precision)).name != name) continue;  // it leaves this one to another
            for (int i = brief ? 2 : 1; i < count; ++i) {
                const int threads = std::atoi(arguments[i]);
                const auto hash = static_cast<unsigned long long>(hash_of(Precision(precision), threads));
                std::printf("%s %s %d %016llx\n", NAMES[precision], name.c_str(), threads, hash);
            }
        }
    }
}
