// Rows times weights: the sums stay in registers until they are what the caller makes of them.
#pragma once

#include "formats.h"

namespace lc2fer {
namespace {

constexpr int STEP_BYTES = 64;                   // of the weights of 16 outputs
constexpr int REGISTERS = Isa::COLUMNS * PARTS;  // of sums, a row of a tile

// sums[ROWS][COUNT] over `steps` steps of each row and the weights of COUNT * W outputs.
template <class Format, int ROWS, int COUNT>
inline INLINE void product(const typename Format::Value* rows, int stride, const uint8_t* weights, const int32_t* start,
                           int steps, typename Format::Sum (&sums)[ROWS][COUNT]) {
    using Weight = typename Format::Weight;
    using Row = typename Format::Row;
    each<COUNT>([&](auto n) INLINE {
        const typename Format::Sum first = Format::start(start + n * W);
        each<ROWS>([&](auto m) INLINE { sums[m][n] = first; });
    });
    const auto weight_at = [&](int step, int n) INLINE {
        return weights + (size_t(n / PARTS) * steps + step) * STEP_BYTES + n % PARTS * (STEP_BYTES / PARTS);
    };
    int step = 0;
    if constexpr (Format::LANED) {
        for (; steps - step >= 4; step += 4) {
            Row row[ROWS];
            each<ROWS>([&](auto m) INLINE { row[m] = Format::four_steps(rows + m * stride + step * Format::STEP); });
            each<4>([&](auto lane) INLINE {
                each<COUNT>([&](auto n) INLINE {
                    const Weight weight = Format::weight(weight_at(step + lane, n));
                    each<ROWS>([&](auto m) INLINE {
                        sums[m][n] = Format::template dot<Format::place(lane)>(sums[m][n], row[m], weight);
                    });
                });
            });
        }
    }
    for (; step < steps; ++step) {
        Weight weight[COUNT];
        each<COUNT>([&](auto n) INLINE { weight[n] = Format::weight(weight_at(step, n)); });
        const typename Format::Value* column = rows + Format::place(step) * Format::STEP;
        each<ROWS>([&](auto m) INLINE {
            const Row row = Format::row(column + m * stride);
            each<COUNT>([&](auto n) INLINE { sums[m][n] = Format::dot(sums[m][n], row, weight[n]); });
        });
    }
}

// Of `count` rows with all `outputs`: finish(first output, first row, sums[] of as many rows, as floats), W outputs at
// a time.
template <class Format, class Finish>
inline INLINE void products(const typename Format::Value* rows, int stride, int count, const Product& its, int depth,
                            int outputs, const Finish& finish) {
    if constexpr (Format::TILES)
        return Format::products(rows, stride, count, its, depth, padded(outputs) / LANES, finish);
    const int steps = depth / Format::STEP;
    const auto columns = [&](int first, auto registers) INLINE {
        const uint8_t* weights = its.weights + size_t(first / LANES) * steps * STEP_BYTES;
        groups<Format::ROWS>(count, [&](int row, auto size) INLINE {
            typename Format::Sum sums[size()][registers()];
            const typename Format::Value* own = rows + size_t(row) * stride;
            if constexpr (Format::OWN_PRODUCT)
                Format::product(own, stride, weights, steps, sums);
            else
                product<Format>(own, stride, weights, its.start + first, steps, sums);
            each<registers()>([&](auto n) INLINE {
                if (first + n * W >= outputs) return;
                Reg values[size()];
                each<size()>([&](auto m) INLINE { values[m] = Format::floats(sums[m][n]); });
                finish(first + n * W, row, values);
            });
        });
    };
    const int end = padded(outputs);
    int first = 0;
    for (; first + REGISTERS * W <= end; first += REGISTERS * W)
        columns(first, std::integral_constant<int, REGISTERS>{});
    if (first < end) columns(first, std::integral_constant<int, PARTS>{});
}

// out[count][outputs] = sum * scale + bias, and what stands beside it, if something does; its lines are `outputs` long,
// too. Rows with a step each, if they have, scale by that as well. One function for all operations: it is what takes
// long to compile.
template <class Format>
__attribute__((noinline)) void write_products(const typename Format::Value* rows, int stride, int count,
                                              const Product& its, int depth, int outputs, const float* steps,
                                              const float* beside, float* out) {
    const auto finish = [&](int output, int row, const auto& sums) INLINE {
        const auto tail = Isa::tail(outputs - output);
        const Reg scale = Isa::load(its.scale + output), bias = Isa::load(its.bias + output);
        each<sizeof(sums) / sizeof(Reg)>([&](auto i) INLINE {
            const size_t place = size_t(row + i) * outputs + output;
            const Reg own = steps == nullptr ? scale : Isa::mul(scale, Isa::all(steps[row + i]));
            Reg value = Isa::fma(sums[i], own, bias);
            if (beside != nullptr) value = Isa::add(value, Isa::load(beside + place, tail));
            Isa::store(out + place, tail, value);
        });
    };
    products<Format>(rows, stride, count, its, depth, outputs, finish);
}

}  // namespace
}  // namespace lc2fer
