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

// The same where the count is a constant, too.
template <int MOST, int COUNT, class Function>
inline INLINE void constexpr_groups(const Function& function) {
    constexpr int NUMBER = (COUNT + MOST - 1) / MOST;
    each<NUMBER>([&](auto i) INLINE {
        constexpr int FIRST = COUNT * i / NUMBER, SIZE = COUNT * (i + 1) / NUMBER - FIRST;
        function(std::integral_constant<int, FIRST>{}, std::integral_constant<int, SIZE>{});
    });
}

// Where `from` points, which then goes on. The compiler would keep the place of each of a loop's registers, and has no
// registers for that.
inline INLINE const float* step_on(const float*& from, int step) {
    const float* here = from;
    from += step;
    asm("" : "+r"(from));
    return here;
}

inline INLINE int least(int a, int b) {
    return a < b ? a : b;
}

}  // namespace
}  // namespace lc2fer
