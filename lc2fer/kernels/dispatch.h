// Which variant runs: the best that this processor has, or what the environment variable LC2FER_CPU makes of it. Needs
// the C library alone, as the variants do.
#pragma once

#include "numbers.h"

namespace lc2fer {

struct Chosen {
    const char* name;
    const Kernels* kernels;
};

// With LC2FER_CPU as a name out of here(), only that one and those behind it count: as on a processor that has no more.
// Both null for another value, and for bfloat16 where it was left out (LC2FER_WITHOUT_BF16).
Chosen chosen(Precision precision);

struct Names {
    char text[96];
};
Names here();  // of those that this processor can run, best first, with spaces between

}  // namespace lc2fer
