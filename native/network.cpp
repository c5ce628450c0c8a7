#include "network.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace lc2fer {
namespace {

struct Header {
    char magic[8];
    uint32_t format;
    uint32_t operations_version;  // of lc2fer/kernels/operations.h
    uint64_t size;                // of the file
    uint32_t precision;           // 0 int8, 2 fp32
    uint32_t side;                // pixels a side of a picture
    uint32_t classes;
    uint32_t operations;
    uint32_t text_bytes;
    uint32_t reserved[3];
    uint32_t checksum;  // CRC-32 of the 56 bytes before it and of all behind the header
    uint32_t reserved_too;
};
static_assert(sizeof(Header) == 64 && offsetof(Header, checksum) == 56, "the file's header");

struct Record {
    uint32_t kind, kernel, stride, outputs;
    float inverse_step;
    uint32_t by_row;
    uint32_t reserved[2];
};
static_assert(sizeof(Record) == 32, "the file's records");

constexpr char MAGIC[8] = {'\x89', 'L', 'C', '2', '\r', '\n', '\x1a', '\n'};
constexpr uint32_t FORMAT = 1, OPERATIONS_VERSION = 3;
constexpr uint32_t MOST_SIDE = 4096, MOST_OPERATIONS = 256, MOST_TEXT = 1 << 16;
constexpr const char* ALIGNMENTS[] = {"none", "level", "eyes"};

// CRC-32 as zlib has it, eight bytes at a time.
class Checksum {
public:
    Checksum() {
        for (uint32_t byte = 0; byte < 256; ++byte) {
            uint32_t value = byte;
            for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
            m_table[0][byte] = value;
        }
        for (int place = 1; place < 8; ++place)
            for (int byte = 0; byte < 256; ++byte)
                m_table[place][byte] = m_table[place - 1][byte] >> 8 ^ m_table[0][m_table[place - 1][byte] & 0xff];
    }

    uint32_t of(uint32_t before, const uint8_t* at, size_t size) const {
        uint32_t value = ~before;
        for (; size >= 8; size -= 8, at += 8) {
            uint32_t low, high;
            std::memcpy(&low, at, 4);
            std::memcpy(&high, at + 4, 4);
            low ^= value;
            value = m_table[7][low & 0xff] ^ m_table[6][low >> 8 & 0xff] ^ m_table[5][low >> 16 & 0xff] ^
                    m_table[4][low >> 24] ^ m_table[3][high & 0xff] ^ m_table[2][high >> 8 & 0xff] ^
                    m_table[1][high >> 16 & 0xff] ^ m_table[0][high >> 24];
        }
        for (; size > 0; --size, ++at) value = value >> 8 ^ m_table[0][(value ^ *at) & 0xff];
        return ~value;
    }

private:
    uint32_t m_table[8][256];
};

}  // namespace

bool refuse(lc2fer_error& error, lc2fer_status status, const char* text, ...) {
    error.status = status;
    va_list arguments;
    va_start(arguments, text);
    std::vsnprintf(error.text, sizeof error.text, text, arguments);
    va_end(arguments);
    return false;
}

int whole_bytes(const char* text, int most) {
    int size = 0;
    while (size < most && text[size] != '\0') ++size;
    if (text[size] == '\0') return size;
    while (size > 0 && (text[size] & 0xc0) == 0x80) --size;
    return size;
}

// Hands out the file's parts in their order; null where there are not as many bytes left.
class Network::Reader {
public:
    Reader(const uint8_t* bytes, size_t size) : m_at(bytes), m_left(size) {}

    const void* part(size_t bytes) {
        if (bytes > m_left || aligned(bytes) > m_left) return nullptr;
        const uint8_t* begin = m_at;
        m_at += aligned(bytes);
        m_left -= aligned(bytes);
        return begin;
    }
    const float* floats(size_t count) { return static_cast<const float*>(part(count * sizeof(float))); }
    size_t left() const { return m_left; }

    // A product's constants, ready for the kernels: `rows` of `outputs` numbers, whose first two are scale and bias.
    // False where the file or the memory ends; `memory_ended` then says which.
    bool product(Memory& memory, const Kernels& kernels, Precision precision, int outputs, int depth, int rows,
                 Product& its) {
        constexpr size_t BYTES[PRECISIONS] = {1, 2, 4};
        const size_t panels = size_t(padded(outputs)) / LANES, wide = panels * LANES;
        const void* weights = part(wide * size_t(depth) * BYTES[precision]);
        const float* numbers = floats(size_t(rows) * wide);
        if (weights == nullptr || numbers == nullptr) return false;
        int32_t* start = memory.piece_of<int32_t>(wide);
        if (start == nullptr) return !(memory_ended = true);
        std::memset(start, 0, wide * sizeof *start);
        if (precision == INT8) {
            const int8_t* each = static_cast<const int8_t*>(weights);
            for (size_t panel = 0; panel < panels; ++panel)
                for (int step = 0; step < depth / 4; ++step)
                    for (int lane = 0; lane < LANES; ++lane)
                        for (int i = 0; i < 4; ++i) start[panel * LANES + size_t(lane)] -= 128 * *each++;
        }
        its.weights = static_cast<const uint8_t*>(weights);
        if (!kernels.as_in_the_file) {
            uint8_t* packed = memory.piece_of<uint8_t>(kernels.weight_bytes(panels, size_t(depth)));
            if (packed == nullptr) return !(memory_ended = true);
            kernels.pack(weights, panels, size_t(depth), packed);
            its.weights = packed;
        }
        its.start = start;
        its.scale = numbers;
        its.bias = numbers + wide;
        return true;
    }

    bool memory_ended = false;

private:
    const uint8_t* m_at;
    size_t m_left;
};

bool Network::open(Memory& memory, const uint8_t* bytes, size_t size, lc2fer_error& error) {
    Header header;
    Reader reader(bytes, size);
    const void* begin = reader.part(sizeof header);
    if (begin == nullptr || std::memcmp(begin, MAGIC, sizeof MAGIC) != 0)
        return refuse(
            error, LC2FER_MODEL,
            "This is no .lc2 file. What lc2fer-export --target native-int8 or native-fp32 writes was expected. "
            "Name that file; a copy made as text is damaged.");
    std::memcpy(&header, begin, sizeof header);
    if (header.format != FORMAT || header.operations_version != OPERATIONS_VERSION)
        return refuse(error, LC2FER_MODEL,
                      "The model has format %u and operations %u. This library reads format %u with operations %u. "
                      "Export the model again with the lc2fer that this library is of.",
                      unsigned(header.format), unsigned(header.operations_version), unsigned(FORMAT),
                      unsigned(OPERATIONS_VERSION));
    const uint32_t checksum =
        Checksum().of(Checksum().of(0, bytes, offsetof(Header, checksum)), bytes + sizeof header, size - sizeof header);
    if (header.size != size || header.checksum != checksum)
        return refuse(
            error, LC2FER_MODEL,
            "The model is damaged: %zu bytes, %llu were written, checksum %08x, %08x was written. The file as "
            "it was exported was expected. Copy it again.",
            size, static_cast<unsigned long long>(header.size), unsigned(checksum), unsigned(header.checksum));
    const bool sane = (header.precision == INT8 || header.precision == FP32) && header.side >= STEM_KERNEL &&
                      header.side <= MOST_SIDE && header.classes >= 1 && header.classes <= LC2FER_MOST_CLASSES &&
                      header.operations >= 1 && header.operations <= MOST_OPERATIONS && header.text_bytes <= MOST_TEXT;
    if (!sane)
        return refuse(
            error, LC2FER_MODEL,
            "The model claims precision %u, %u pixels a side, %u classes, %u operations and %u bytes of text. "
            "0 or 2, 4 to %u, 1 to %u, 1 to %u and at most %u were expected. Do not use it.",
            unsigned(header.precision), unsigned(header.side), unsigned(header.classes), unsigned(header.operations),
            unsigned(header.text_bytes), unsigned(MOST_SIDE), unsigned(LC2FER_MOST_CLASSES), unsigned(MOST_OPERATIONS),
            unsigned(MOST_TEXT));
    m_precision = Precision(header.precision);
    const Chosen here = chosen(m_precision);
    if (here.kernels == nullptr) {
        char able[192] = "";  // the names with commas between
        size_t end = 0;
        const Names names = lc2fer::here();
        for (const char* each = names.text; *each != '\0'; ++each) {
            if (*each == ' ') able[end++] = ',';
            able[end++] = *each;
        }
        return refuse(
            error, LC2FER_CPU,
            "LC2FER_CPU is %.*s. What this processor can run was expected: %s. Set it to one of these, or not "
            "at all.",
            whole_bytes(std::getenv("LC2FER_CPU"), 40), std::getenv("LC2FER_CPU"), able);
    }
    m_kernels = here.kernels;
    m_count = int(header.operations);
    m_info.size = int(header.side);
    m_info.classes = int(header.classes);
    m_info.precision = m_precision == INT8 ? "int8" : "fp32";
    m_info.instructions = here.name;
    m_info.operations = m_count;
    if (!read_texts(memory, reader, header.text_bytes, error) || !read_operations(memory, reader, error)) return false;
    m_weight = reader.floats(size_t(m_info.classes) * size_t(m_channels));
    m_bias = reader.floats(size_t(m_info.classes));
    if (m_weight == nullptr || m_bias == nullptr || reader.left() != 0)
        return refuse(
            error, LC2FER_MODEL,
            "The model has other constants than its operations need. What lc2fer-export writes was expected. Do "
            "not use it.");
    return true;
}

bool Network::read_texts(Memory& memory, Reader& reader, size_t bytes, lc2fer_error& error) {
    const char* at = static_cast<const char*>(reader.part(bytes));
    const char** labels = memory.piece_of<const char*>(size_t(m_info.classes));
    if (labels == nullptr)
        return refuse(error, LC2FER_MEMORY, "There is no memory left for the model. Some was expected. Free some.");
    int found = -1;  // the alignment, then the labels
    for (const char* end = at == nullptr ? at : at + bytes; at < end && found < m_info.classes; ++found) {
        const void* zero = std::memchr(at, 0, size_t(end - at));
        if (zero == nullptr) break;
        if (found < 0) m_info.alignment = at;
        if (found >= 0) labels[found] = at;
        at = static_cast<const char*>(zero) + 1;
    }
    bool known = false;
    for (const char* each : ALIGNMENTS)
        known = known || (found == m_info.classes && std::strcmp(each, m_info.alignment) == 0);
    if (!known)
        return refuse(error, LC2FER_MODEL,
                      "The model does not name its %d classes behind an alignment of none, level or eyes. What "
                      "lc2fer-export writes was expected. Do not use it.",
                      m_info.classes);
    m_info.labels = labels;
    return true;
}

bool Network::read_operations(Memory& memory, Reader& reader, lc2fer_error& error) {
    const auto wrong = [&](int place) {
        if (reader.memory_ended)
            return refuse(error, LC2FER_MEMORY, "There is no memory left for the model. Some was expected. Free some.");
        return refuse(
            error, LC2FER_MODEL,
            "Operation %d of the model is none that this library has, or lacks constants. A stem, then blocks "
            "and downsamples of 8, 16, 24 .. 512 channels were expected. Do not use it.",
            place);
    };
    const auto too_large = [&](uint64_t bytes) {
        return refuse(error, LC2FER_MODEL,
                      "The model needs %llu MB for a picture. At most %zu were expected. Do not use it.",
                      static_cast<unsigned long long>(bytes >> 20), MOST_WORKSPACE >> 20);
    };
    const void* records = reader.part(size_t(m_count) * sizeof(Record));
    m_operations = memory.piece_of<Operation>(size_t(m_count));
    if (m_operations == nullptr) return !(reader.memory_ended = true) || wrong(0);
    if (records == nullptr) return wrong(0);
    const auto needs = [&](size_t bytes) { m_workspace = bytes > m_workspace ? bytes : m_workspace; };
    size_t high = size_t(m_info.size), across = high, channels = 3;
    size_t image = image_bytes();
    for (int place = 0; place < m_count; ++place) {
        Record its;
        std::memcpy(&its, static_cast<const uint8_t*>(records) + size_t(place) * sizeof its, sizeof its);
        Operation& to = m_operations[place];
        to = {};
        const bool first = place == 0, stem = its.kind == Operation::STEM, block = its.kind == Operation::BLOCK;
        if (first != stem || its.kind > Operation::DOWNSAMPLE || !std::isfinite(its.inverse_step)) return wrong(place);
        if (its.by_row > (block && m_precision == INT8 ? 1u : 0u)) return wrong(place);
        to.kind = Operation::Kind(its.kind);
        if (block) {
            const int wide = 4 * int(channels), stride = padded(int(channels));
            to.block = {int(high), int(across), int(channels),   wide,    its.inverse_step,
                        nullptr,   {},          its.by_row != 0, nullptr, {}};
            const size_t constants = size_t(TAPS_AND_BIAS) * size_t(stride);
            const float* taps = reader.floats(constants);
            float* packed = taps == nullptr ? nullptr : memory.piece_of<float>(constants);
            if (taps == nullptr || (reader.memory_ended = packed == nullptr)) return wrong(place);
            pack_taps(taps, int(channels), packed);
            to.block.depthwise = packed;
            if (!reader.product(memory, *m_kernels, m_precision, wide, int(channels), 2, to.block.expand))
                return wrong(place);
            to.block.response = reader.floats(2 * size_t(wide));
            if (to.block.response == nullptr ||
                !reader.product(memory, *m_kernels, m_precision, int(channels), wide, 2, to.block.project))
                return wrong(place);
            to.bytes = image;
            needs(image + aligned(m_kernels->scratch_bytes(int(high), int(across), wide)));
        } else {
            const uint32_t kernel = stem ? STEM_KERNEL : its.kernel, step = stem ? its.stride : kernel;
            const bool sizes = its.outputs >= 8 && its.outputs <= MOST_CHANNELS && its.outputs % 8 == 0 && step >= 1 &&
                               step <= MOST_SIDE && kernel >= 1 && size_t(kernel) <= high && size_t(kernel) <= across;
            if (!sizes || (!stem && (kernel * kernel > MOST_TAPS || channels > MOST_CHANNELS / 2))) return wrong(place);
            const int outputs = int(its.outputs), depth = int(kernel * kernel * channels);
            to.conv = {int(high),        int(across), int(channels), int(kernel), int(step), outputs,
                       its.inverse_step, {},          nullptr};
            if (!reader.product(memory, *m_kernels, m_precision, outputs, depth, stem ? 4 : 2, to.conv.product))
                return wrong(place);
            to.conv.norm = to.conv.product.scale + 2 * padded(outputs);
            high = size_t(to.conv.high());
            across = size_t(to.conv.across());
            channels = its.outputs;
            const uint64_t bytes = uint64_t(high) * across * channels * sizeof(float);
            if (bytes > MOST_WORKSPACE) return too_large(bytes);  // before a size_t of 32 bits ends
            to.bytes = aligned(size_t(bytes));
            needs(image + to.bytes);
            image = to.bytes;
        }
    }
    m_pixels = int(high * across);
    m_channels = int(channels);
    return m_workspace <= MOST_WORKSPACE || too_large(m_workspace);
}

void Network::run(const Pool& pool, const float* image, void* workspace, float* logits) const {
    const float* x = image;
    float* values = nullptr;
    bool at_end = true;
    for (int i = 0; i < m_count; ++i) {
        const Operation& its = m_operations[i];
        if (its.kind == Operation::BLOCK) {
            void* scratch = at_end ? workspace : static_cast<uint8_t*>(workspace) + its.bytes;
            m_kernels->block(its.block, pool, values, values, scratch);  // adds to each pixel what it made of it
            continue;
        }
        at_end = !at_end;
        values = at(workspace, at_end, its.bytes);
        (its.kind == Operation::STEM ? m_kernels->stem : m_kernels->downsample)(its.conv, pool, x, values);
        x = values;
    }
    head(values, logits);
}

// The mean over the image, LayerNorm without weights, a linear layer.
void Network::head(const float* values, float* logits) const {
    float mean[MOST_CHANNELS] = {};
    for (int pixel = 0; pixel < m_pixels; ++pixel, values += m_channels)
        for (int c = 0; c < m_channels; ++c) mean[c] += values[c];
    float middle = 0, square = 0;
    for (int c = 0; c < m_channels; ++c) {
        mean[c] /= float(m_pixels);
        middle += mean[c];
    }
    middle /= float(m_channels);
    for (int c = 0; c < m_channels; ++c) {
        mean[c] -= middle;
        square += mean[c] * mean[c];
    }
    const float factor = 1 / std::sqrt(square / float(m_channels) + EPSILON);
    for (int i = 0; i < m_info.classes; ++i) {
        float sum = 0;
        for (int c = 0; c < m_channels; ++c) sum += mean[c] * factor * m_weight[i * m_channels + c];
        logits[i] = sum + m_bias[i];
    }
}

}  // namespace lc2fer
