// What callers without C++ ask an engine's library: chosen() of "int8", "bf16" or "fp32", null for another precision or
// a value of LC2FER_CPU that is none of here(); and here().
#include "dispatch.h"

#include <cstring>

extern "C" __attribute__((visibility("default"))) const char* lc2fer_here() {
    static const lc2fer::Names names = lc2fer::here();
    return names.text;
}

extern "C" __attribute__((visibility("default"))) const char* lc2fer_chosen(const char* precision) {
    constexpr const char* NAMES[lc2fer::PRECISIONS] = {"int8", "bf16", "fp32"};
    for (int i = 0; i < lc2fer::PRECISIONS; ++i)
        if (std::strcmp(precision, NAMES[i]) == 0) return lc2fer::chosen(lc2fer::Precision(i)).name;
    return nullptr;
}
