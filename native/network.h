// A network read from the bytes of an .lc2 file, which may come from anywhere, and made ready for this processor.
//
// The file, little-endian; every part begins at a multiple of 64 bytes and is filled up with zeros:
//
//     header        64 bytes: struct Header of network.cpp
//     texts         the alignment, then a label a class; UTF-8, each with a zero behind it
//     operations    32 bytes each: struct Record
//     constants     of each operation in turn, as lc2fer/kernels has them; their shapes follow from the operations
//     head          float32 [classes][C], then [classes]
//
// export/formats/native.py writes it.
#pragma once

#include "lc2fer.h"
#include "memory.h"

#include "kernels/dispatch.h"

namespace lc2fer {

struct Operation {
    enum Kind : uint32_t { STEM, BLOCK, DOWNSAMPLE } kind;
    BlockNumbers block;
    ConvNumbers conv;  // of a stem or a downsample
    size_t bytes;      // of the image that comes out
};

class Network {
public:
    // Takes over `bytes`, which begin at a multiple of 64 and are the memory's. Says in `error` why not.
    bool open(Memory& memory, const uint8_t* bytes, size_t size, lc2fer_error& error);

    const lc2fer_info& info() const { return m_info; }

    // What run() needs at a multiple of 64 bytes; less than MOST_WORKSPACE.
    size_t workspace() const { return m_workspace; }

    // Where a picture may be put in a workspace before run() reads it there.
    float* image_in(void* workspace) const { return at(workspace, true, image_bytes()); }

    // logits[classes] of image[3][size][size]
    void run(const Pool& pool, const float* image, void* workspace, float* logits) const;

private:
    class Reader;
    bool read_texts(Memory& memory, Reader& reader, size_t bytes, lc2fer_error& error);
    bool read_operations(Memory& memory, Reader& reader, lc2fer_error& error);
    void head(const float* values, float* logits) const;

    size_t image_bytes() const { return aligned(3 * size_t(m_info.size) * size_t(m_info.size) * sizeof(float)); }

    // Images lie at the begin and at the end of a workspace in turns, and what a block needs beside its own lies where
    // the other one was.
    float* at(void* workspace, bool end, size_t bytes) const {
        return reinterpret_cast<float*>(static_cast<uint8_t*>(workspace) + (end ? m_workspace - bytes : 0));
    }

    lc2fer_info m_info{};
    Precision m_precision = INT8;
    const Kernels* m_kernels = nullptr;
    Operation* m_operations = nullptr;
    int m_count = 0;
    int m_pixels = 0, m_channels = 0;  // that the head gets
    const float *m_weight = nullptr, *m_bias = nullptr;
    size_t m_workspace = 0;
};

// The bytes of a text, at most so many, that end with a whole character of UTF-8.
int whole_bytes(const char* text, int most);

// Fills in what and why; returns false.
__attribute__((format(printf, 3, 4))) bool refuse(lc2fer_error& error, lc2fer_status status, const char* text, ...);

constexpr size_t MOST_FILE = size_t(256) << 20;
constexpr size_t MOST_WORKSPACE = size_t(512) << 20;

}  // namespace lc2fer
