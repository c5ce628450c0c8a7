#include "threads.h"

#include <sched.h>

namespace lc2fer {
namespace {

constexpr int LOOKS = 4000;               // for the next job, some 50 microseconds, before a thread sleeps
constexpr int LOOKS_BEFORE_YIELD = 2000;  // of the caller for the last parts, before others get its core
constexpr size_t STACK_BYTES = 1 << 20;   // kernels take up to 600 KB; musl gives a thread 128

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

bool Threads::start(int count) {
    if (pthread_mutex_init(&m_mutex, nullptr) != 0) return false;
    if (pthread_cond_init(&m_wake, nullptr) != 0) {
        pthread_mutex_destroy(&m_mutex);
        return false;
    }
    m_ready = true;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (m_started + 1 < count && pthread_create(&m_threads[m_started], &attributes, main, this) == 0) ++m_started;
    pthread_attr_destroy(&attributes);
    return true;
}

Threads::~Threads() {
    if (!m_ready) return;
    pthread_mutex_lock(&m_mutex);
    m_ended.store(true);
    pthread_cond_broadcast(&m_wake);
    pthread_mutex_unlock(&m_mutex);
    for (int i = 0; i < m_started; ++i) pthread_join(m_threads[i], nullptr);
    pthread_cond_destroy(&m_wake);
    pthread_mutex_destroy(&m_mutex);
}

void Threads::run(void* its, void (*part)(void*, int), void* argument, int count) {
    Threads& own = *static_cast<Threads*>(its);
    own.m_part = part;
    own.m_argument = argument;
    own.m_done.store(0, std::memory_order_relaxed);
    const uint64_t turn = turn_of(own.m_job.load(std::memory_order_relaxed)) + 1;
    own.m_job.store(turn << 32 | uint64_t(count) << 16);
    if (own.m_sleeping.load() > 0) {
        pthread_mutex_lock(&own.m_mutex);
        pthread_cond_broadcast(&own.m_wake);
        pthread_mutex_unlock(&own.m_mutex);
    }
    own.work();
    for (int looks = 0; own.m_done.load(std::memory_order_acquire) < count; ++looks) {
        pause();
        if (looks > LOOKS_BEFORE_YIELD) sched_yield();
    }
}

bool Threads::work() {
    bool any = false;
    uint64_t word = m_job.load(std::memory_order_acquire);
    while (next_of(word) < parts_of(word)) {
        // A share of what is left: few turns while much is, and none that ends long after the others.
        const int first = next_of(word), left = parts_of(word) - first, share = left / (2 * count());
        const int end = first + (share > 1 ? share : 1);
        if (!m_job.compare_exchange_weak(word, word + uint64_t(end - first), std::memory_order_acquire)) continue;
        for (int number = first; number < end; ++number) m_part(m_argument, number);
        m_done.fetch_add(end - first, std::memory_order_release);
        any = true;
        word = m_job.load(std::memory_order_acquire);
    }
    return any;
}

void* Threads::main(void* its) {
    static_cast<Threads*>(its)->serve();
    return nullptr;
}

void Threads::serve() {
    int looks = 0;
    while (!m_ended.load(std::memory_order_relaxed)) {
        if (work()) {
            looks = 0;
        } else if (++looks < LOOKS) {
            pause();
        } else {
            sleep();
            looks = 0;
        }
    }
}

void Threads::sleep() {
    pthread_mutex_lock(&m_mutex);
    m_sleeping.fetch_add(1);
    for (uint64_t word = m_job.load(); next_of(word) >= parts_of(word) && !m_ended.load(); word = m_job.load())
        pthread_cond_wait(&m_wake, &m_mutex);
    m_sleeping.fetch_sub(1);
    pthread_mutex_unlock(&m_mutex);
}

}  // namespace lc2fer
