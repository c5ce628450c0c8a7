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

inline INLINE float greatest(const Lanes& x) {
    alignas(64) float most[LANES];
    store(most, x);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) most[i] = most[i] > most[i + half] ? most[i] : most[i + half];
    return most[0];
}

// A pixel's sums over its channels: 16 partial sums, added in halves. Those of W pixels are added together, and lie in
// a register's lanes at the end.
struct Moments {
    Reg sum, square;
};

// Of the pixels FIRST .. FIRST + COUNT - 1 of W, in the order in which the halves want them; at() is null behind the
// last.
template <int FIRST, int COUNT, class At>
inline INLINE Moments moments(const At& at, int channels) {
    if constexpr (COUNT == 1) {
        const float* pixel = at(FIRST % (W / 4) * 4 + FIRST / (W / 4));
        Lanes sum = all(0.0f), square = sum;
        const auto add = [&](const Lanes& value) INLINE {
            sum = sum + value;
            square = fma(value, value, square);
        };
        if (pixel != nullptr) {
            int c = 0;
            for (; c + LANES <= channels; c += LANES) add(load(pixel + c));
            if (c < channels) add(load(pixel + c, channels - c));
        }
        return {Isa::fold(sum.part), Isa::fold(square.part)};
    } else {
        const Moments a = moments<FIRST, COUNT / 2>(at, channels);
        const Moments b = moments<FIRST + COUNT / 2, COUNT / 2>(at, channels);
        constexpr int LEFT = 2 * W / COUNT;  // partial sums a pixel
        return {Isa::template halved<LEFT>(a.sum, b.sum), Isa::template halved<LEFT>(a.square, b.square)};
    }
}

// factors[count] = numerator / deviation of each pixel at(0) .. at(count - 1). Their mean, if they have one, is the
// next layer's to take out.
template <bool MEAN, class At>
inline void divide_by_deviations(float numerator, int count, int channels, const At& at, float* factors) {
    for (int first = 0; first < count; first += W) {
        const auto own = [&](int i) INLINE { return first + i < count ? at(first + i) : nullptr; };
        const Moments its = moments<0, W>(own, channels);
        const Reg number = Isa::all(float(channels));
        Reg square = Isa::div(its.square, number);
        if constexpr (MEAN) {
            const Reg mean = Isa::div(its.sum, number);
            square = Isa::max(Isa::fma(Isa::mul(mean, Isa::all(-1.0f)), mean, square), Isa::all(0.0f));
        }
        Isa::store(factors + first, Isa::div(Isa::all(numerator), Isa::root(Isa::add(square, Isa::all(EPSILON)))));
    }
}

}  // namespace
}  // namespace lc2fer
