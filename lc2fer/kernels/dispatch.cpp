#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

// With LC2FER_GENERIC_ALONE a library is plain C++, as on processors that have no variants: what a fuzzer watches.
#if defined(__x86_64__) && !defined(LC2FER_GENERIC_ALONE)
#define LC2FER_X86
#elif defined(__aarch64__) && !defined(LC2FER_GENERIC_ALONE)
#define LC2FER_ARM
#elif defined(__wasm_relaxed_simd__) && !defined(LC2FER_GENERIC_ALONE)
#define LC2FER_WASM
#endif

#if defined(LC2FER_X86)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(LC2FER_ARM)
#include <sys/auxv.h>
#elif defined(LC2FER_WASM)
#include <wasm_simd128.h>
#endif

namespace lc2fer {
namespace {

struct Candidate {
    const char* name;
    bool (*runs)();
    const Kernels* kernels[PRECISIONS];  // null where it has nothing that a lesser one has not
    bool (*slower)() = nullptr;          // than one behind it: taken only when LC2FER_CPU names it
};

}  // namespace

// A library that has no use for bfloat16 names none of it here, and its linker leaves it out.
#if defined(LC2FER_WITHOUT_BF16)
#define BF16_OF(variant) nullptr
#else
#define BF16_OF(variant) &variant##_bf16
#endif

#if defined(LC2FER_X86)

extern const Kernels amx_int8, avx512bf16_bf16, avx512vnni_int8, avx512_bf16, avx512_fp32, avxvnni_int8;
extern const Kernels avx2_int8, avx2_bf16, avx2_fp32, generic_int8, generic_bf16, generic_fp32;

namespace {

// By CPUID itself: not every compiler brings what __builtin_cpu_supports() needs.
struct Bit {
    unsigned leaf, subleaf;
    char place;  // the register: a, b, c or d
    int bit;
};

unsigned cpuid(unsigned leaf, unsigned subleaf, char place) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __get_cpuid_count(leaf, subleaf, &a, &b, &c, &d);
    return place == 'a' ? a : place == 'b' ? b : place == 'c' ? c : d;
}

template <size_t COUNT>
bool has(const Bit (&bits)[COUNT]) {
    for (const Bit& each : bits)
        if ((cpuid(each.leaf, each.subleaf, each.place) >> each.bit & 1) == 0) return false;
    return true;
}

bool saved(unsigned registers) {  // by the system, from thread to thread; OSXSAVE says that it can be asked
    constexpr Bit OSXSAVE[] = {{1, 0, 'c', 27}};
    if (!has(OSXSAVE)) return false;
    unsigned low, high;
    asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & registers) == registers;
}

bool has_avx2() {  // x86-64-v3: MOVBE, AVX, F16C, FMA; BMI, AVX2, BMI2; LZCNT
    constexpr Bit BITS[] = {{1, 0, 'c', 22}, {1, 0, 'c', 28}, {1, 0, 'c', 29}, {1, 0, 'c', 12},
                            {7, 0, 'b', 3},  {7, 0, 'b', 5},  {7, 0, 'b', 8},  {0x80000001, 0, 'c', 5}};
    return saved(0x06) && has(BITS);
}

bool has_avx512() {  // x86-64-v4: F, DQ, CD, BW, VL
    constexpr Bit BITS[] = {{7, 0, 'b', 16}, {7, 0, 'b', 17}, {7, 0, 'b', 28}, {7, 0, 'b', 30}, {7, 0, 'b', 31}};
    return has_avx2() && saved(0xe6) && has(BITS);
}

bool has_vnni() {
    constexpr Bit BITS[] = {{7, 0, 'c', 11}};
    return has_avx512() && has(BITS);
}

bool has_avx512bf16() {
    constexpr Bit BITS[] = {{7, 1, 'a', 5}};
    return has_avx512() && has(BITS);
}

bool has_avxvnni() {
    constexpr Bit BITS[] = {{7, 1, 'a', 4}};
    return has_avx2() && has(BITS);
}

bool is_intel() {
    return cpuid(0, 0, 'b') == 0x756e6547;  // "Genu"
}

bool has_amx() {  // tiles, and products of bytes in them
    constexpr Bit BITS[] = {{7, 0, 'd', 24}, {7, 0, 'd', 25}};
    return has_vnni() && has(BITS);
}

bool may_use_tiles() {  // Linux wants to be asked, once a process, before it saves a thread's tiles
    constexpr int REQUEST = 0x1023, TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

const Candidate CANDIDATES[] = {
    {"amx", [] { return has_amx() && may_use_tiles(); }, {&amx_int8}},
    // On a Sapphire Rapids, C6 in ONNX Runtime takes 3.8 ms with VDPBF16PS and 2.7 ms with the same numbers as floats.
    {"avx512bf16", has_avx512bf16, {nullptr, BF16_OF(avx512bf16)}, is_intel},
    {"avx512vnni", has_vnni, {&avx512vnni_int8}},
    {"avx512", has_avx512, {nullptr, BF16_OF(avx512), &avx512_fp32}},
    {"avxvnni", has_avxvnni, {&avxvnni_int8}},
    {"avx2", has_avx2, {&avx2_int8, BF16_OF(avx2), &avx2_fp32}},
    {"generic", [] { return true; }, {&generic_int8, BF16_OF(generic), &generic_fp32}},
};

}  // namespace

#elif defined(LC2FER_ARM)

extern const Kernels i8mm_int8, dotprod_int8, neon_int8, neon_bf16, neon_fp32;

namespace {

const Candidate CANDIDATES[] = {
    {"i8mm", [] { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }, {&i8mm_int8}},
    {"dotprod", [] { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }, {&dotprod_int8}},
    {"neon", [] { return true; }, {&neon_int8, BF16_OF(neon), &neon_fp32}},
};

}  // namespace

#elif defined(LC2FER_WASM)

extern const Kernels wasmudot_int8, wasmsdot_int8, wasm_int8, wasm_fp32;

namespace {

// What a relaxed instruction does is up to the browser, but the same each time that it is run: trying says what.
bool is_fused() {
    volatile float more = 1 + 0x1p-12f, less = -(1 + 0x1p-11f);
    const v128_t its = wasm_f32x4_splat(more);
    return wasm_f32x4_extract_lane(wasm_f32x4_relaxed_madd(its, its, wasm_f32x4_splat(less)), 0) == 0x1p-24f;
}

// Four products of -128 with a byte and of 127 with another one: their sum, unless the first or a pair does not fit.
bool adds_up(int byte, int expected) {
    constexpr int WEIGHTS[] = {-128, 127};
    volatile int rows = byte;
    const v128_t row = wasm_i8x16_splat(int8_t(rows)), none = wasm_i32x4_const_splat(0);
    for (const int weight : WEIGHTS) {
        const v128_t sum = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_i8x16_splat(int8_t(weight)), row, none);
        if (wasm_i32x4_extract_lane(sum, 0) != 4 * weight * expected) return false;
    }
    return true;
}

const Candidate CANDIDATES[] = {
    {"wasmudot", [] { return is_fused() && adds_up(0xff, 255); }, {&wasmudot_int8}},
    {"wasmsdot", [] { return is_fused() && adds_up(0x80, -128); }, {&wasmsdot_int8}},
    {"wasm", is_fused, {&wasm_int8, nullptr, &wasm_fp32}},
};

}  // namespace

#else

extern const Kernels generic_int8, generic_bf16, generic_fp32;

namespace {

const Candidate CANDIDATES[] = {
    {"generic", [] { return true; }, {&generic_int8, BF16_OF(generic), &generic_fp32}},
};

}  // namespace

#endif

namespace {

// A bit a candidate, asked once: under a hypervisor each CPUID costs a microsecond. Two threads that ask at once find
// the same.
bool runs(const Candidate& its) {
    constexpr unsigned KNOWN = 1u << 31;
    static std::atomic<unsigned> found{0};
    unsigned bits = found.load(std::memory_order_relaxed);
    if (bits == 0) {
        bits = KNOWN;
        for (const Candidate& each : CANDIDATES)
            if (each.runs()) bits |= 1u << (&each - CANDIDATES);
        found.store(bits, std::memory_order_relaxed);
    }
    return (bits >> (&its - CANDIDATES) & 1) != 0;
}

}  // namespace

Names here() {
    Names names{};
    for (const Candidate& each : CANDIDATES) {
        if (!runs(each)) continue;
        if (names.text[0] != '\0') std::strcat(names.text, " ");
        std::strcat(names.text, each.name);
    }
    return names;
}

Chosen chosen(Precision precision) {
    const char* asked = std::getenv("LC2FER_CPU");
    bool reached = asked == nullptr || *asked == '\0';
    for (const Candidate& each : CANDIDATES) {
        if (!runs(each)) continue;
        const bool named = asked != nullptr && std::strcmp(each.name, asked) == 0;
        reached = reached || named;
        const Kernels* kernels = each.kernels[precision];
        if (reached && kernels != nullptr && (named || each.slower == nullptr || !each.slower()))
            return {each.name, kernels};
    }
    return {};
}

}  // namespace lc2fer
