// Loops whose numbers are constants: an array so indexed is a set of registers.
#pragma once

#include "numbers.h"

#include <utility>

namespace lc2fer {
namespace {

// function(0) .. function(COUNT - 1)
template <class Function, int... NUMBERS>
inline INLINE void each(const Function& function, std::integer_sequence<int, NUMBERS...>) {
    (function(std::integral_constant<int, NUMBERS>{}), ...);
}
template <int COUNT, class Function>
inline INLINE void each(const Function& function) {
    each(function, std::make_integer_sequence<int, COUNT>{});
}

// function(first, size) for groups of 0..count, as equal as can be and of at most MOST, with the size as a constant.
template <int MOST, class Function>
inline INLINE void groups(int count, const Function& function) {
    const int number = (count + MOST - 1) / MOST;
    for (int i = 0; i < number; ++i) {
        const int first = count * i / number, size = count * (i + 1) / number - first;
        each<MOST>([&](auto n) INLINE {
            if (size == n + 1) function(first, std::integral_constant<int, n + 1>{});
        });
    }
}

inline INLINE int least(int a, int b) {
    return a < b ? a : b;
}

}  // namespace
}  // namespace lc2fer
