// The network in a page: what deploy/web/kernels.js calls of the module that is compiled to WebAssembly. A module has
// one model, and a page that wants another makes another module. There is no environment there, so LC2FER_CPU is what
// the page says.
#include "network.h"

#include <cstdlib>
#include <cstring>

#define EXPORT(name) extern "C" __attribute__((export_name(#name), visibility("default")))

using namespace lc2fer;

namespace {

Memory memory;
Network network;
lc2fer_error error;
void* workspace = nullptr;
char cpu[16] = "";

void alone(void*, void (*part)(void*, int), void* argument, int count) {
    for (int number = 0; number < count; ++number) part(argument, number);
}

}  // namespace

extern "C" char* getenv(const char*) {
    return cpu;
}

// Memory for a file, a picture of bytes [size][size][3], or logits; null where there is no more.
EXPORT(take) void* take_bytes(size_t bytes) {
    return memory.piece(bytes);
}

// The instructions that run here, best first, with spaces between; none where the browser's multiply-add rounds twice.
EXPORT(able) const char* able() {
    static const Names names = here();
    return names.text;
}

// Where the name of instructions may be put, 15 letters at most, before open().
EXPORT(cpu) char* place_of_cpu() {
    return cpu;
}

// Whether the .lc2 file in memory that take() gave can be run; if not, failure() says why.
EXPORT(open) bool open_bytes(const uint8_t* bytes, size_t size) {
    if (!network.open(memory, bytes, size, error)) return false;
    workspace = memory.piece(network.workspace());
    return workspace != nullptr || refuse(error, LC2FER_MEMORY,
                                          "There is no memory left for the model. Some was "
                                          "expected. Close other pages.");
}

EXPORT(failure) const char* failure() {
    return error.text;
}
EXPORT(size) int size() {
    return network.info().size;
}
EXPORT(classes) int classes() {
    return network.info().classes;
}
EXPORT(instructions) const char* instructions() {
    return network.info().instructions;
}

EXPORT(run) void run(const uint8_t* pixels, float* logits) {
    float* const image = network.image_in(workspace);
    float* to = image;
    const int places = size() * size();
    for (int colour = 0; colour < 3; ++colour)
        for (int place = 0; place < places; ++place) *to++ = float(pixels[place * 3 + colour]);
    network.run({nullptr, alone}, image, workspace, logits);
}
