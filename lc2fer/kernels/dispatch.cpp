#include "dispatch.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace lc2fer {
namespace {

struct Candidate {
    const Variant& variant;
    bool (*runs)();
    bool (*slower)() = nullptr;  // than one behind it: taken only when LC2FER_CPU names it
};

}  // namespace

#if defined(__x86_64__)

extern const Variant amx, avx512bf16, avx512vnni, avx512, avxvnni, avx2, generic;

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
    {amx, [] { return has_amx() && may_use_tiles(); }},
    // On a Sapphire Rapids, C6 in ONNX Runtime takes 3.8 ms with VDPBF16PS and 2.7 ms with the same numbers as floats.
    {avx512bf16, has_avx512bf16, is_intel},
    {avx512vnni, has_vnni},
    {avx512, has_avx512},
    {avxvnni, has_avxvnni},
    {avx2, has_avx2},
    {generic, [] { return true; }},
};

}  // namespace

#elif defined(__aarch64__)

extern const Variant i8mm, dotprod, neon;

namespace {

const Candidate CANDIDATES[] = {
    {i8mm, [] { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }},
    {dotprod, [] { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }},
    {neon, [] { return true; }},
};

}  // namespace

#else

extern const Variant generic;

namespace {

const Candidate CANDIDATES[] = {{generic, [] { return true; }}};

}  // namespace

#endif

const std::string& here() {
    static const std::string names = [] {
        std::string all;
        for (const Candidate& each : CANDIDATES)
            if (each.runs()) all += (all.empty() ? "" : " ") + std::string(each.variant.name);
        return all;
    }();
    return names;
}

Chosen chosen(Precision precision) {
    const std::string names = ' ' + here() + ' ';
    const auto known = [&](const char* name) { return names.find(' ' + std::string(name) + ' ') != std::string::npos; };
    const char* asked = std::getenv("LC2FER_CPU");
    if (asked != nullptr && *asked == '\0') asked = nullptr;
    if (asked != nullptr && (std::strchr(asked, ' ') != nullptr || !known(asked)))
        throw std::invalid_argument("expected LC2FER_CPU to be one of " + here() + ", not " + asked);
    bool reached = asked == nullptr;
    for (const Candidate& each : CANDIDATES) {
        const bool named = asked != nullptr && std::strcmp(each.variant.name, asked) == 0;
        reached = reached || named;
        const Kernels* kernels = each.variant.kernels[precision];
        if (!reached || kernels == nullptr || !known(each.variant.name)) continue;
        if (named || each.slower == nullptr || !each.slower()) return {each.variant.name, kernels};
    }
    throw std::logic_error("the last variant has kernels of every precision");
}

}  // namespace lc2fer

extern "C" const char* lc2fer_here() {
    return lc2fer::here().c_str();
}

extern "C" const char* lc2fer_chosen(const char* precision) {
    constexpr const char* NAMES[lc2fer::PRECISIONS] = {"int8", "bf16", "fp32"};
    for (int i = 0; i < lc2fer::PRECISIONS; ++i) {
        if (std::strcmp(precision, NAMES[i]) != 0) continue;
        try {
            return lc2fer::chosen(lc2fer::Precision(i)).name;
        } catch (const std::exception&) {
            return nullptr;
        }
    }
    return nullptr;
}
