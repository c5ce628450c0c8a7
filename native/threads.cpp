#include "threads.h"

#include <sched.h>

namespace lc2fer {
namespace {

constexpr int LOOKS = 4000;               // for the next job, some 50 microseconds, before a thread sleeps
constexpr int LOOKS_BEFORE_YIELD = 2000;  // of the caller for the last parts, before others get its core
#if defined(__SANITIZE_THREAD__)
constexpr size_t STACK_BYTES = 2 << 20;  // 785 KB of it are ThreadSanitizer's own
#else
constexpr size_t STACK_BYTES = 1 << 20;  // kernels take up to 600 KB; musl gives a thread 128
#endif

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
    for (; m_started + 1 < count; ++m_started) {
        Worker& worker = m_workers[m_started];
        worker = {this, m_started + 1, {}};
        if (pthread_create(&worker.thread, &attributes, main, &worker) != 0) break;
    }
    pthread_attr_destroy(&attributes);
    return true;
}

Threads::~Threads() {
    if (!m_ready) return;
    pthread_mutex_lock(&m_mutex);
    m_ended.store(true);
    pthread_cond_broadcast(&m_wake);
    pthread_mutex_unlock(&m_mutex);
    for (int i = 0; i < m_started; ++i) pthread_join(m_workers[i].thread, nullptr);
    pthread_cond_destroy(&m_wake);
    pthread_mutex_destroy(&m_mutex);
}

void Threads::run(void* its, void (*part)(void*, int), void* argument, int count) {
    Threads& own = *static_cast<Threads*>(its);
    own.m_part = part;
    own.m_argument = argument;
    own.m_done.store(0, std::memory_order_relaxed);
    const int threads = own.count();
    const uint64_t turn = turn_of(own.m_shares[0].word.load(std::memory_order_relaxed)) + 1;
    const auto begin = [&](int number) { return uint64_t(count * number + threads - 1) / uint64_t(threads); };
    for (int number = threads - 1; number >= 0; --number)
        own.m_shares[number].word.store(turn << 32 | begin(number + 1) << 16 | begin(number));
    if (own.m_sleeping.load() > 0) {
        pthread_mutex_lock(&own.m_mutex);
        pthread_cond_broadcast(&own.m_wake);
        pthread_mutex_unlock(&own.m_mutex);
    }
    own.work(0);
    for (int looks = 0; own.m_done.load(std::memory_order_acquire) < count; ++looks) {
        pause();
        if (looks > LOOKS_BEFORE_YIELD) sched_yield();
    }
}

bool Threads::has_parts(int number) const {
    const uint64_t word = m_shares[number].word.load();
    return next_of(word) < end_of(word);
}

void Threads::work(int number) {
    const int threads = count();
    int did = 0;
    for (int other = 0; other < threads; ++other) {
        std::atomic<uint64_t>& share = m_shares[(number + other) % threads].word;
        uint64_t word = share.load(std::memory_order_acquire);
        while (next_of(word) < end_of(word)) {
            if (!share.compare_exchange_weak(word, word + 1, std::memory_order_acquire)) continue;
            m_part(m_argument, next_of(word));
            ++did;
            word = share.load(std::memory_order_acquire);
        }
    }
    if (did > 0) m_done.fetch_add(did, std::memory_order_release);  // at the end: until then there is no other job
}

void* Threads::main(void* worker) {
    const Worker& its = *static_cast<const Worker*>(worker);
    its.its->serve(its.number);
    return nullptr;
}

void Threads::serve(int number) {
    int looks = 0;
    while (!m_ended.load(std::memory_order_relaxed)) {
        if (has_parts(number)) {
            work(number);
            looks = 0;
        } else if (++looks < LOOKS) {
            pause();
        } else {
            sleep(number);
            looks = 0;
        }
    }
}

void Threads::sleep(int number) {
    pthread_mutex_lock(&m_mutex);
    m_sleeping.fetch_add(1);
    while (!has_parts(number) && !m_ended.load()) pthread_cond_wait(&m_wake, &m_mutex);
    m_sleeping.fetch_sub(1);
    pthread_mutex_unlock(&m_mutex);
}

}  // namespace lc2fer
