// lc2fer.h: models, the memory that pictures take while they are run, and who shares the work.
#include "lc2fer.h"

#include "network.h"
#include "threads.h"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sched.h>
#endif

using namespace lc2fer;

struct lc2fer_model {
    // What a picture takes while it is run, one behind the other; the last one given back is the next to be used.
    struct alignas(ALIGNMENT) Workspace {
        Workspace* before;
        void* memory() { return this + 1; }
    };

    Memory memory;
    Network network;
    Threads threads;
    lc2fer_info info{};
    lc2fer_pool own{};  // the caller's; run is null where there is none
    mutable pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    mutable Workspace* free_ones = nullptr;

    ~lc2fer_model() {
        while (free_ones != nullptr) {
            Workspace* before = free_ones->before;
            free(free_ones);
            free_ones = before;
        }
        pthread_mutex_destroy(&mutex);
    }

    Workspace* borrow() const {
        pthread_mutex_lock(&mutex);
        Workspace* found = free_ones;
        if (found != nullptr) free_ones = found->before;
        pthread_mutex_unlock(&mutex);
        return found != nullptr ? found : static_cast<Workspace*>(take(sizeof(Workspace) + network.workspace()));
    }

    void give_back(Workspace* its) const {
        pthread_mutex_lock(&mutex);
        its->before = free_ones;
        free_ones = its;
        pthread_mutex_unlock(&mutex);
    }
};

namespace {

constexpr int USUAL_THREADS = 8;
static_assert(LC2FER_MOST_THREADS == Threads::MOST, "each has a place");

// The threads for one call: the caller's pool, the model's own where nobody has them, or none.
class Share {
public:
    explicit Share(const lc2fer_model& model) : m_threads(const_cast<Threads&>(model.threads)) {
        if (model.own.run != nullptr) {
            m_pool = {model.own.its, model.own.run};
        } else if (m_threads.try_acquire()) {
            m_pool = {&m_threads, Threads::run};
            m_acquired = true;
        }
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() {
        if (m_acquired) m_threads.release();
    }

    const Pool& pool() const { return m_pool; }

private:
    Threads& m_threads;
    Pool m_pool{nullptr, run_alone};
    bool m_acquired = false;
};

int usable_cores() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
    return 1;
}

bool check(const lc2fer_options& options, lc2fer_error& error) {
    if (options.threads < 0 || options.threads > LC2FER_MOST_THREADS)
        return refuse(error, LC2FER_ARGUMENT,
                      "%d threads were asked for. 1 to %d were expected, or 0 for one a core. Correct options.threads.",
                      options.threads, LC2FER_MOST_THREADS);
    if (options.pool != nullptr && options.pool->run == nullptr)
        return refuse(error, LC2FER_ARGUMENT, "The pool has no run. A function was expected. Set options.pool->run.");
    return true;
}

// The model of bytes that lie in `memory`; goes on with what it has where the system gives fewer threads.
lc2fer_model* made(lc2fer_model* model, const uint8_t* bytes, size_t size, const lc2fer_options& options,
                   lc2fer_error& error) {
    if (!model->network.open(model->memory, bytes, size, error)) return nullptr;
    model->info = model->network.info();
    if (options.pool != nullptr) {
        model->own = *options.pool;
    } else {
        const int cores = usable_cores();
        const int usual = cores < USUAL_THREADS ? cores : USUAL_THREADS;
        const int wanted = options.threads > 0 ? options.threads : usual;
        if (wanted > 1) model->threads.start(wanted);
        model->info.threads = model->threads.count();
    }
    return model;
}

uint8_t* read(Memory& memory, const char* path, size_t& size, lc2fer_error& error) {
    FILE* file = std::fopen(path, "rb");
    const auto failed = [&](const char* why) -> uint8_t* {
        if (file != nullptr) std::fclose(file);
        refuse(error, LC2FER_FILE, "%.*s cannot be read: %s. An .lc2 file was expected. Name one.",
               whole_bytes(path, 300), path, why);
        return nullptr;
    };
    if (file == nullptr) return failed(std::strerror(errno));
    const long end = std::fseek(file, 0, SEEK_END) == 0 ? std::ftell(file) : -1;
    if (end < 0 || end == LONG_MAX || std::fseek(file, 0, SEEK_SET) != 0) return failed("it has no size");  // a folder
    if (size_t(end) > MOST_FILE) return failed("it has more than 256 MB");
    size = size_t(end);
    uint8_t* bytes = memory.piece_of<uint8_t>(size);
    if (bytes == nullptr) return failed("there is not enough memory");
    if (std::fread(bytes, 1, size, file) != size) return failed("it ends before its size");
    std::fclose(file);
    return bytes;
}

template <class Fill>
lc2fer_model* opened(const lc2fer_options* given, lc2fer_error* told, const Fill& fill) {
    lc2fer_error unheard, &error = told == nullptr ? unheard : *told;
    error.status = LC2FER_OK;
    error.text[0] = '\0';
    const lc2fer_options options = given == nullptr ? lc2fer_options{} : *given;
    if (!check(options, error)) return nullptr;
    void* place = take(sizeof(lc2fer_model));
    lc2fer_model* model = place == nullptr ? nullptr : new (place) lc2fer_model;
    if (model == nullptr) {
        refuse(error, LC2FER_MEMORY, "There is no memory left for the model. Some was expected. Free some.");
        return nullptr;
    }
    size_t size = 0;
    const uint8_t* bytes = fill(model->memory, size, error);
    if (bytes != nullptr && made(model, bytes, size, options, error) != nullptr) return model;
    lc2fer_close(model);
    return nullptr;
}

struct Batch {
    const lc2fer_model* model;
    const float* pixels;
    float* logits;
    std::atomic<bool> lacked{false};  // memory
};

void run_one(void* argument, int place) {
    Batch& its = *static_cast<Batch*>(argument);
    const lc2fer_info& info = its.model->info;
    lc2fer_model::Workspace* workspace = its.model->borrow();
    if (workspace == nullptr) {
        its.lacked.store(true);
        return;
    }
    its.model->network.run({nullptr, run_alone}, its.pixels + size_t(place) * 3 * size_t(info.size) * size_t(info.size),
                           workspace->memory(), its.logits + size_t(place) * size_t(info.classes));
    its.model->give_back(workspace);
}

}  // namespace

const char* lc2fer_version(void) {
    return LC2FER_VERSION;
}

lc2fer_model* lc2fer_open(const char* path, const lc2fer_options* options, lc2fer_error* error) {
    return opened(options, error, [&](Memory& memory, size_t& size, lc2fer_error& told) -> const uint8_t* {
        if (path == nullptr) {
            refuse(told, LC2FER_ARGUMENT, "No path was given. That of an .lc2 file was expected. Name one.");
            return nullptr;
        }
        return read(memory, path, size, told);
    });
}

lc2fer_model* lc2fer_open_memory(const void* data, size_t size, const lc2fer_options* options, lc2fer_error* error) {
    return opened(options, error, [&](Memory& memory, size_t& its_size, lc2fer_error& told) -> const uint8_t* {
        if (data == nullptr || size > MOST_FILE) {
            refuse(told, LC2FER_ARGUMENT,
                   "%zu bytes at %s were given. At most 256 MB of an .lc2 file were expected. Pass those.", size,
                   data == nullptr ? "null" : "an address");
            return nullptr;
        }
        uint8_t* bytes = memory.piece_of<uint8_t>(size);
        if (bytes == nullptr) {
            refuse(told, LC2FER_MEMORY, "There is no memory left for the model. Some was expected. Free some.");
            return nullptr;
        }
        std::memcpy(bytes, data, size);
        its_size = size;
        return bytes;
    });
}

void lc2fer_close(lc2fer_model* model) {
    if (model == nullptr) return;
    model->~lc2fer_model();
    free(model);
}

const lc2fer_info* lc2fer_describe(const lc2fer_model* model) {
    return model == nullptr ? nullptr : &model->info;
}

lc2fer_status lc2fer_run_rgb(const lc2fer_model* model, const uint8_t* pixels, ptrdiff_t line, ptrdiff_t pixel,
                             ptrdiff_t colour, float* logits) {
    if (model == nullptr || pixels == nullptr || logits == nullptr) return LC2FER_ARGUMENT;
    lc2fer_model::Workspace* workspace = model->borrow();
    if (workspace == nullptr) return LC2FER_MEMORY;
    float* const image = model->network.image_in(workspace->memory());
    const int size = model->info.size;
    float* to = image;
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < size; ++y) {
            const uint8_t* from = pixels + c * colour + y * line;
            for (int x = 0; x < size; ++x) *to++ = float(from[x * pixel]);
        }
    const Share share(*model);
    model->network.run(share.pool(), image, workspace->memory(), logits);
    model->give_back(workspace);
    return LC2FER_OK;
}

lc2fer_status lc2fer_run(const lc2fer_model* model, const float* pixels, size_t count, float* logits) {
    if (model == nullptr || (count > 0 && (pixels == nullptr || logits == nullptr))) return LC2FER_ARGUMENT;
    const Share share(*model);
    const lc2fer_info& info = model->info;
    if (count == 1) {
        lc2fer_model::Workspace* workspace = model->borrow();
        if (workspace == nullptr) return LC2FER_MEMORY;
        model->network.run(share.pool(), pixels, workspace->memory(), logits);
        model->give_back(workspace);
        return LC2FER_OK;
    }
    constexpr size_t AT_ONCE = 4096;  // a job of Threads has fewer than 2^15 parts
    for (size_t place = 0; place < count; place += AT_ONCE) {
        const size_t left = count - place < AT_ONCE ? count - place : AT_ONCE;
        Batch batch{model, pixels + place * 3 * size_t(info.size) * size_t(info.size),
                    logits + place * size_t(info.classes)};
        share.pool().run(share.pool().its, run_one, &batch, int(left));
        if (batch.lacked.load()) return LC2FER_MEMORY;
    }
    return LC2FER_OK;
}
