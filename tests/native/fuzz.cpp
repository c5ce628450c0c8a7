// libFuzzer's target: a file from anywhere is refused, or opened and run. The checksum is mended, which would else be
// all that is ever tried.
//
//     tests/native/fuzz.sh [SECONDS]
#include "../../native/lc2fer.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

uint32_t crc32(uint32_t before, const uint8_t* at, size_t size) {
    uint32_t value = ~before;
    for (size_t i = 0; i < size; ++i) {
        value ^= at[i];
        for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    }
    return ~value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::vector<uint8_t> file(data, data + size);
    if (size > 64) {
        const uint64_t bytes = size;
        std::memcpy(file.data() + 16, &bytes, sizeof bytes);
        const uint32_t checksum = crc32(crc32(0, file.data(), 56), file.data() + 64, size - 64);
        std::memcpy(file.data() + 56, &checksum, sizeof checksum);
    }
    lc2fer_options options = {};
    options.threads = 1;
    lc2fer_error error;
    lc2fer_model* model = lc2fer_open_memory(file.data(), file.size(), &options, &error);
    if (model == nullptr) {
        if (error.status == LC2FER_OK || error.text[0] == '\0') __builtin_trap();
        return 0;
    }
    const lc2fer_info& info = *lc2fer_describe(model);
    for (int i = 0; i < info.classes; ++i)
        if (std::strlen(info.labels[i]) > size) __builtin_trap();
    if (info.size <= 64) {
        const std::vector<uint8_t> picture(size_t(info.size) * size_t(info.size) * 3, 100);
        std::vector<float> logits(size_t(info.classes));
        if (lc2fer_run_rgb(model, picture.data(), 3 * info.size, 3, 1, logits.data()) != LC2FER_OK) __builtin_trap();
    }
    lc2fer_close(model);
    return 0;
}
