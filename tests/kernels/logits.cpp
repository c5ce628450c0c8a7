// The logits of a network without an engine: logits NETWORK IMAGES COUNT THREADS > raw float32 [COUNT][classes]
//
// Without arguments it prints the precisions and variants that this processor runs: a line "int8 avx2" each.
//
// NETWORK is what tests/kernels/table.py writes of an artifact: for each operation its kind, attributes, shape of its
// image and constants, then the head. IMAGES are float32 [COUNT][3][H][W].
#include "../../lc2fer/kernels/operations.h"
#include "pool.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

using namespace lc2fer;

struct Input {
    std::ifstream file;

    template <class T>
    T number() {
        T x;
        file.read(reinterpret_cast<char*>(&x), sizeof x);
        return x;
    }
    std::string text() {
        std::string x(number<uint32_t>(), ' ');
        file.read(&x[0], std::streamsize(x.size()));
        return x;
    }
    Shape shape() {
        Shape x(number<uint32_t>());
        for (size_t& size : x) size = number<uint32_t>();
        return x;
    }
    std::vector<float> floats() {
        std::vector<float> x(number<uint32_t>());
        file.read(reinterpret_cast<char*>(x.data()), std::streamsize(x.size() * sizeof(float)));
        return x;
    }
};

using Run = std::function<void(const Pool&, const float*, float*)>;

struct Network {
    std::vector<Run> runs;
    std::vector<Shape> shapes;  // of what each gives
    std::vector<std::string> bytes;
    std::vector<float> weight, bias;
    size_t pixels = 0;  // values of an image

    explicit Network(Input in) {
        const uint32_t count = in.number<uint32_t>();
        bytes.reserve(count * 8);  // operations point into these
        for (uint32_t i = 0; i < count; ++i) {
            const std::string kind = in.text();
            Attributes its;
            its.version = in.number<int32_t>();
            its.precision = in.text();
            its.inverse_step = in.number<float>();
            its.kernel = in.number<int32_t>();
            its.stride = in.number<int32_t>();
            its.outputs = in.number<int32_t>();
            its.by_row = in.number<int32_t>();
            const Shape image = in.shape();
            if (i == 0) pixels = image[1] * image[2] * image[3];
            if (kind == "Stem") add<Stem, 2>(in, its, image);
            if (kind == "Block") add<Block, 6>(in, its, image);
            if (kind == "Downsample") add<Downsample, 2>(in, its, image);
        }
        weight = in.floats();
        bias = in.floats();
    }

    template <class Kind, size_t COUNT>
    void add(Input& in, const Attributes& its, const Shape& image) {
        std::array<const void*, COUNT> constants;
        std::vector<Shape> given;
        for (const void*& each : constants) {
            given.push_back(in.shape());
            bytes.push_back(in.text());
            each = bytes.back().data();
        }
        shapes.push_back(checked<Kind>(its, image, given));
        const auto kind = std::make_shared<Kind>();
        kind->prepare(its, image, constants);
        runs.push_back([kind](const Pool& pool, const float* x, float* out) { kind->run(pool, x, out); });
    }

    // The head as lc2fer/network/model.py has it, in double and one rounding at the end: not what is tested here.
    std::vector<float> logits(const Pool& pool, std::vector<float> x) const {
        for (size_t i = 0; i < runs.size(); ++i) {
            std::vector<float> out(shapes[i][1] * shapes[i][2] * shapes[i][3]);
            runs[i](pool, x.data(), out.data());
            x.swap(out);
        }
        const size_t channels = shapes.back()[3], pixels = x.size() / channels;
        std::vector<double> mean(channels);
        for (size_t i = 0; i < x.size(); ++i) mean[i % channels] += double(x[i]) / double(pixels);
        double centre = 0, square = 0;
        for (const double value : mean) centre += value / double(channels);
        for (const double value : mean) square += (value - centre) * (value - centre) / double(channels);
        std::vector<float> found(bias.size());
        for (size_t i = 0; i < bias.size(); ++i) {
            double sum = bias[i];
            for (size_t c = 0; c < channels; ++c)
                sum += double(weight[i * channels + c]) * (mean[c] - centre) / std::sqrt(square + 1e-6);
            found[i] = float(sum);
        }
        return found;
    }
};

int main(int given, char** arguments) {
    if (given == 1) {
        constexpr const char* NAMES[PRECISIONS] = {"int8", "bf16", "fp32"};
        std::istringstream names(here().text);
        for (std::string name; names >> name;) {
            setenv("LC2FER_CPU", name.c_str(), 1);
            for (int i = 0; i < PRECISIONS; ++i)
                if (chosen(Precision(i)).name == name) std::printf("%s %s\n", NAMES[i], name.c_str());
        }
        return 0;
    }
    const Network network(Input{std::ifstream(arguments[1], std::ios::binary)});
    std::ifstream images(arguments[2], std::ios::binary);  // may hold more than are asked for
    const size_t count = size_t(std::atoi(arguments[3]));
    int threads = std::atoi(arguments[4]);
    for (size_t i = 0; i < count; ++i) {
        std::vector<float> image(network.pixels);
        images.read(reinterpret_cast<char*>(image.data()), std::streamsize(network.pixels * sizeof(float)));
        const std::vector<float> found = network.logits({&threads, run}, std::move(image));
        std::fwrite(found.data(), sizeof(float), found.size(), stdout);
    }
}
