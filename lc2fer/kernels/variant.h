// The kernels of one precision as a variant's table has them.
#pragma once

#include "block.h"
#include "convolutions.h"

namespace lc2fer {
namespace {

template <void (*)(const void* weights, size_t panels, size_t depth, void* to)>
struct Packing;  // tells functions apart: to compare their addresses is no constant expression under UBSan

template <class Format>
constexpr Kernels KERNELS = {
    [](size_t panels, size_t depth) { return panels * depth * LANES * Format::WEIGHT_BYTES; },
    Format::pack,
    std::is_same<Packing<Format::pack>, Packing<copy_weights<Format::WEIGHT_BYTES>>>::value,
    [](int height, int width, int hidden) {
        return block_scratch(height, width, hidden, sizeof(typename Format::Hidden));
    },
    block<Format>,
    downsample<Format>,
    stem<Format>,
};

}  // namespace
}  // namespace lc2fer
