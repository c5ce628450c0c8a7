// libFuzzer on the operators: attributes and shapes as a model file may have them. What they refuse is refused by
// std::invalid_argument; what they take they prepare and run on memory of exactly the sizes that were checked, under
// the address and undefined-behaviour sanitizers. The first byte chooses the operation and whether shapes are made to
// fit.
#include "../../lc2fer/kernels/operations.h"

#include <cstdlib>
#include <cstring>

namespace lc2fer {

extern const Kernels generic_int8, generic_bf16, generic_fp32;
#if defined(__x86_64__)
extern const Kernels avx2_int8, avx2_bf16, avx2_fp32;
#endif

static bool fast = false;  // of the two variants that are compiled in

Chosen chosen(Precision precision) {
    const Kernels* plain[PRECISIONS];
    plain[INT8] = &generic_int8, plain[BF16] = &generic_bf16, plain[FP32] = &generic_fp32;
#if defined(__x86_64__)
    const Kernels* wide[PRECISIONS];
    wide[INT8] = &avx2_int8, wide[BF16] = &avx2_bf16, wide[FP32] = &avx2_fp32;
    if (fast && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {"avx2", wide[precision]};
#endif
    return {"generic", plain[precision]};
}

Names here() {
    return {"avx2 generic"};
}

}  // namespace lc2fer

using namespace lc2fer;

struct Bytes {
    const uint8_t* data;
    size_t size;

    template <class Number>
    Number next() {
        Number value{};
        const size_t taken = size < sizeof value ? size : sizeof value;
        std::memcpy(&value, data, taken);
        data += taken;
        size -= taken;
        return value;
    }

    // Mostly what a model may say, sometimes any 64 bits.
    int64_t number(const std::initializer_list<int64_t>& usual) {
        const uint8_t choice = next<uint8_t>();
        if (choice >= 250) return next<int64_t>();
        if (choice >= 200) return int64_t(next<uint16_t>());
        return usual.begin()[choice % usual.size()];
    }
};

// Memory of just that many bytes, with a pattern in it.
std::unique_ptr<uint8_t, void (*)(void*)> filled(size_t bytes, uint8_t value) {
    uint8_t* made = static_cast<uint8_t*>(std::malloc(bytes ? bytes : 1));
    std::memset(made, value, bytes);
    return {made, std::free};
}

// At most 2^24: of larger ones no sum is to overflow.
size_t elements(const Shape& shape) {
    constexpr size_t MOST = 1u << 24;
    size_t count = 1;
    for (const size_t size : shape) count = size > MOST || count * size > MOST ? MOST : count * size;
    return count;
}

template <class Kind>
void try_one(Attributes its, Shape image, bool fitting, Bytes rest) {
    std::vector<Shape> shapes;
    constexpr size_t COUNT = Kind::BYTES.size();
    Shape output;
    try {
        if (fitting && image.size() == 4) {
            shapes = Kind::constants(its, image);
            if (rest.next<uint8_t>() > 220) shapes[rest.next<uint8_t>() % COUNT][0] = size_t(rest.next<uint16_t>());
        } else {
            for (size_t i = 0; i < COUNT; ++i) {
                shapes.emplace_back(rest.next<uint8_t>() % 5);
                for (size_t& size : shapes.back()) size = size_t(rest.number({1, 2, 8, 16, 50}));
            }
        }
        output = checked<Kind>(its, image, shapes);
    } catch (const std::invalid_argument& refused) {
        if (std::strncmp(refused.what(), "expected ", 9) != 0) std::abort();
        return;
    }
    size_t work = elements(image) + elements(output);
    for (const Shape& shape : shapes) work += elements(shape);
    if (work > 300000) return;  // it would only take long
    std::vector<std::unique_ptr<uint8_t, void (*)(void*)>> memory;
    std::array<const void*, COUNT> constants;
    for (size_t i = 0; i < COUNT; ++i) {
        memory.push_back(filled(elements(shapes[i]) * (Kind::BYTES[i] ? 1 : 4), rest.next<uint8_t>() & 0x3f));
        constants[i] = memory.back().get();
    }
    const auto x = filled(elements(image) * 4, 0x3f), out = filled(elements(output) * 4, 0);
    Kind kind;
    kind.prepare(its, image, constants);
    run_images(kind, alone(), rest.next<uint8_t>() & 1, image[0], reinterpret_cast<const float*>(x.get()),
               floats_of_one(image), reinterpret_cast<float*>(out.get()), floats_of_one(output));
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes rest{data, size};
    const uint8_t first = rest.next<uint8_t>();
    fast = first & 0x40;
    Attributes its;
    its.version = rest.number({VERSION, VERSION, VERSION, 1});
    const uint8_t precision = rest.next<uint8_t>();
    its.precision = precision > 250 ? std::string(precision % 4, char(precision))
                                    : std::array<const char*, 3>{"int8", "bf16", "fp32"}[precision % 3];
    its.inverse_step = first & 0x20 ? rest.next<float>() : 20.0f;
    its.kernel = rest.number({1, 2, 3});
    its.stride = rest.number({1, 2, 4});
    its.outputs = rest.number({8, 16, 24, 40, 48, 80});
    its.by_row = rest.number({0, 1, 0, 2});
    const int kind = first % 3;
    Shape image;
    image.push_back(size_t(rest.number({1, 1, 1, 0, 2})));
    if (kind == 2) image.push_back(size_t(rest.number({3, 3, 3, 1})));
    image.push_back(size_t(rest.number({4, 5, 7, 9, 12, 33})));
    image.push_back(size_t(rest.number({4, 5, 7, 9, 12, 33})));
    if (kind != 2) image.push_back(size_t(rest.number({8, 16, 24, 40, 64})));
    if (rest.next<uint8_t>() > 240) image.resize(rest.next<uint8_t>() % 6, 4);
    const bool fitting = !(first & 0x80);
    if (kind == 0) try_one<Block>(its, image, fitting, rest);
    if (kind == 1) try_one<Downsample>(its, image, fitting, rest);
    if (kind == 2) try_one<Stem>(its, image, fitting, rest);
    return 0;
}
