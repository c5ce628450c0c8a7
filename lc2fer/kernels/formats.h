// What products are in: Isa::Bytes, Isa::Halves, and the two here, which every instruction set has.
//
// A format has the Value of a row, STEP of which meet a register of weights at a time; the Sum; ROWS of a tile; put(),
// which rounds 16 floats to Values; dot(), which adds a step to a sum; floats() of a sum; and pack() of the weights.
#pragma once

#include "lanes.h"

namespace lc2fer {
namespace {

template <class Exactness>
struct FloatProducts : Exactness {
    using Value = float;
    using Sum = Reg;
    using Row = Reg;
    using Weight = Reg;
    static constexpr int STEP = 1, ROWS = Isa::FLOAT_ROWS, WEIGHT_BYTES = 4;
    static constexpr bool LANED = Isa::FLOAT_LANED;

    static INLINE Sum start(const int32_t*) { return Isa::all(0.0f); }
    static INLINE Weight weight(const uint8_t* from) { return Isa::load(reinterpret_cast<const float*>(from)); }
    static INLINE Row row(const Value* from) { return Isa::all(*from); }
    static INLINE Row four_steps(const Value* from) { return Isa::load(from); }
    static INLINE Sum dot(Sum sum, Row row, Weight weight) { return Isa::fma(row, weight, sum); }
    template <int LANE, class Its = Isa>
    static INLINE Sum dot(Sum sum, Row row, Weight weight) {
        return Its::template fma_lane<LANE>(row, weight, sum);
    }
    static INLINE Reg floats(Sum sum) { return sum; }
    static INLINE void put(Value* to, const Lanes& x) { store(to, x); }
    static constexpr auto pack = copy_weights<sizeof(float)>;
};

using Floats = FloatProducts<Long>;

// bfloat16 without an instruction for its products: exactly what VDPBF16PS computes, which adds the second product of a
// pair first, each by a fused multiply-add, and takes subnormals for zero.
struct RoundedFloats : FloatProducts<Short> {
    static constexpr int place(int step) { return step ^ 1; }
    template <class Its = Isa>  // which has to have it only if this format is used
    static INLINE void put(Value* to, const Lanes& x) {
        each<PARTS>([&](auto j) INLINE { Its::store(to + j * W, Its::bfloat16(x.part[j])); });
    }
    static void pack(const void* weights, size_t panels, size_t depth, void* to) {
        const uint16_t* from = static_cast<const uint16_t*>(weights);  // [panels][depth / 2][16][2]
        uint32_t* out = static_cast<uint32_t*>(to);                    // [panels][depth][16]
        for (size_t step = 0; step < panels * depth; ++step)
            for (size_t lane = 0; lane < LANES; ++lane) {
                const size_t other = step ^ 1;
                out[step * LANES + lane] = uint32_t(from[(other / 2 * LANES + lane) * 2 + other % 2]) << 16;
            }
    }
};

// to[count] = value(0), value(16) ... of as many Lanes, in a format
template <class Format, class Function>
inline INLINE void put(typename Format::Value* to, int count, const Function& value) {
    int c = 0;
    if constexpr (Format::PACK > 1)
        for (; c + Format::PACK * LANES <= count; c += Format::PACK * LANES) {
            Lanes x[Format::PACK];
            each<Format::PACK>([&](auto i) INLINE { x[i] = value(c + i * LANES); });
            Format::put(to + c, x);
        }
    for (; c < count; c += LANES) Format::put(to + c, value(c));
}

// x * Phi(x). Phi - 1/2 is x times a polynomial of t, which is x^2, or -1 to 1, while |x| grows from 0 to a bound,
// beyond which it stays.
template <class Format>
struct Gelu {
    static constexpr int TERMS = Format::TERMS, BOUND = TERMS, LEAST = TERMS + 1, SQUARE = TERMS + 2, HALF = TERMS + 3;
    static constexpr int MINUS = TERMS + 4, NUMBERS = TERMS + 5;

    static constexpr float number(int i) {
        return i < TERMS     ? Format::GELU[i]
               : i == BOUND  ? Format::BOUND
               : i == LEAST  ? -Format::BOUND
               : i == SQUARE ? 2 / (Format::BOUND * Format::BOUND)
               : i == HALF   ? 0.5f
                             : -1.0f;
    }

    struct Table {
        float rows[NUMBERS][W];
        constexpr Table() : rows{} {
            for (int i = 0; i < NUMBERS; ++i)
                for (int lane = 0; lane < W; ++lane) rows[i][lane] = number(i);
        }
    };
    alignas(64) static constexpr Table TABLE{};

    // Of COUNT registers at once, operation by operation: one chain alone waits for each of its results.
    template <int COUNT>
    static INLINE void put(Reg (&x)[COUNT]) {
        const Table* table = &TABLE;
        if constexpr (Isa::TABLES) asm("" : "+r"(table));  // else GCC makes the address of each constant anew
        const auto its = [&](int i) INLINE { return Isa::TABLES ? Isa::load(table->rows[i]) : Isa::all(number(i)); };
        const Reg bound = its(BOUND), least = its(LEAST), square = its(SQUARE), first = its(TERMS - 1);
        Reg near[COUNT], t[COUNT], sum[COUNT];
        const auto all_of = [](const auto& function) INLINE { each<COUNT>(function); };
        all_of([&](auto i) INLINE { near[i] = Isa::within(x[i], bound, least); });
        all_of([&](auto i) INLINE { t[i] = Isa::mul(near[i], near[i]); });
        if constexpr (Format::CENTRED) all_of([&](auto i) INLINE { t[i] = Isa::fma(t[i], square, its(MINUS)); });
        all_of([&](auto i) INLINE { sum[i] = Isa::fma(first, t[i], its(TERMS - 2)); });
        each<TERMS - 2>([&](auto k) INLINE {
            all_of([&](auto i) INLINE { sum[i] = Isa::fma(sum[i], t[i], its(TERMS - 3 - k)); });
        });
        all_of([&](auto i) INLINE { sum[i] = Isa::fma(sum[i], near[i], its(HALF)); });
        all_of([&](auto i) INLINE { x[i] = Isa::mul(x[i], sum[i]); });
    }
};

}  // namespace
}  // namespace lc2fer
