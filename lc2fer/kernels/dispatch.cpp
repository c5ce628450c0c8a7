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

// __builtin_cpu_supports() also asks whether the system saves the registers.
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

bool has_vnni() {
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

// Bit `bit` of EAX or EDX of leaf 7, for what __builtin_cpu_supports() of GCC 11 does not know.
bool has_bit(unsigned subleaf, bool edx, int bit) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, subleaf, &a, &b, &c, &d) && ((edx ? d : a) >> bit & 1);
}

bool may_use_tiles() {  // Linux wants to be asked, once a process, before it saves a thread's tiles
    constexpr int REQUEST = 0x1023, TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

const Candidate CANDIDATES[] = {
    {amx, [] { return has_vnni() && has_bit(0, true, 24) && has_bit(0, true, 25) && may_use_tiles(); }},
    // On a Sapphire Rapids, C6 in ONNX Runtime takes 3.9 ms with VDPBF16PS and 2.9 ms with the same numbers as floats.
    {avx512bf16, [] { return has_avx512() && has_bit(1, false, 5); }, [] { return __builtin_cpu_is("intel") != 0; }},
    {avx512vnni, has_vnni},
    {avx512, has_avx512},
    {avxvnni, [] { return has_avx2() && has_bit(1, false, 4); }},
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
