// Sixteen channels at a time, in the registers that an instruction set has for them.
#pragma once

#include "each.h"

namespace lc2fer {
namespace {

using Reg = Isa::Reg;
constexpr int W = Isa::W;  // lanes of a register
constexpr int PARTS = LANES / W;

struct Lanes {
    Reg part[PARTS];
};

// A number of channels is a multiple of 8: registers of 4 or 8 lanes are there or not, those of 16 have a mask.
inline INLINE Lanes load(const float* from) {
    Lanes x;
    each<PARTS>([&](auto j) INLINE { x.part[j] = Isa::load(from + j * W); });
    return x;
}
inline INLINE Lanes load(const float* from, int left) {
    Lanes x;
    each<PARTS>([&](auto j)
                    INLINE { x.part[j] = j * W < left ? Isa::load(from + j * W, Isa::tail(left)) : Isa::all(0.0f); });
    return x;
}
inline INLINE void store(float* to, const Lanes& x) {
    each<PARTS>([&](auto j) INLINE { Isa::store(to + j * W, x.part[j]); });
}
inline INLINE void store(float* to, const Lanes& x, int left) {
    each<PARTS>([&](auto j) INLINE {
        if (j * W < left) Isa::store(to + j * W, Isa::tail(left), x.part[j]);
    });
}

inline INLINE Lanes operator+(const Lanes& a, const Lanes& b) {
    Lanes x;
    each<PARTS>([&](auto j) INLINE { x.part[j] = Isa::add(a.part[j], b.part[j]); });
    return x;
}
inline INLINE Lanes operator*(const Lanes& a, const Lanes& b) {
    Lanes x;
    each<PARTS>([&](auto j) INLINE { x.part[j] = Isa::mul(a.part[j], b.part[j]); });
    return x;
}
inline INLINE Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
    Lanes x;
    each<PARTS>([&](auto j) INLINE { x.part[j] = Isa::fma(a.part[j], b.part[j], c.part[j]); });
    return x;
}
inline INLINE Lanes all(float value) {
    Lanes x;
    each<PARTS>([&](auto j) INLINE { x.part[j] = Isa::all(value); });
    return x;
}

// Of a pixel's channels; their mean is the next layer's to take out.
inline INLINE float deviation(const float* pixel, int channels) {
    Lanes sum = all(0.0f), square = sum;
    for (int c = 0; c < channels; c += LANES) {
        const Lanes value = load(pixel + c, channels - c);
        sum = sum + value;
        square = fma(value, value, square);
    }
    const float mean = Isa::reduce(sum.part) / channels;
    const float left = Isa::fma(-mean, mean, Isa::reduce(square.part) / channels);
    return __builtin_sqrtf((left > 0.0f ? left : 0.0f) + EPSILON);
}

}  // namespace
}  // namespace lc2fer
