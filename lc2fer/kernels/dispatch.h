// Which variant runs: the best that this processor has, or what the environment variable LC2FER_CPU makes of it.
#pragma once

#include "numbers.h"

#include <string>

namespace lc2fer {

struct Chosen {
    const char* name;
    const Kernels* kernels;
};

// With LC2FER_CPU as a name out of here(), only that one and those behind it count: as on a processor that has no more.
// Throws std::invalid_argument for another value.
Chosen chosen(Precision precision);

const std::string& here();  // the names of those that this processor can run, best first, with spaces between

}  // namespace lc2fer

// For callers without C++: chosen() of "int8", "bf16" or "fp32", and here(). Null for another precision, or for a value
// of LC2FER_CPU that is none of here().
extern "C" __attribute__((visibility("default"))) const char* lc2fer_chosen(const char* precision);
extern "C" __attribute__((visibility("default"))) const char* lc2fer_here();
