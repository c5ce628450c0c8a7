// The library's own threads. A picture is some twenty short jobs, each waiting for the one before it, so between two
// jobs a thread looks for the next for some microseconds before it sleeps.
#pragma once

#include "kernels/numbers.h"

#include <atomic>
#include <cstdint>

#include <pthread.h>

namespace lc2fer {

class Threads {
public:
    static constexpr int MOST = 64;

    Threads() = default;
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;
    ~Threads();

    // Starts `count` threads, MOST at most, less the caller's; as many as the system gives. False where it gives no
    // lock.
    bool start(int count);

    int count() const { return m_started.load(std::memory_order_relaxed) + 1; }

    // Whether the caller may have them now; if so, they are its own until release().
    bool try_acquire() { return count() > 1 && !m_taken.exchange(true, std::memory_order_acquire); }
    void release() { m_taken.store(false, std::memory_order_release); }

    // part(argument, 0) .. part(argument, count - 1); count is below 2^15. The form of Pool::run.
    static void run(void* its, void (*part)(void*, int), void* argument, int count);

private:
    // The parts of a job that one of the threads begins with, the same ones in every job: what it wrote before is in
    // its core's cache. Where it has none left, it takes of others'. In one word the job's turn, the last part + 1 and
    // the next one to do: what a thread takes belongs to the job that it saw, or it takes nothing. On a cache line of
    // its own, as a thread looks at its own until there are parts.
    struct alignas(64) Share {
        std::atomic<uint64_t> word{0};
    };
    static constexpr uint64_t turn_of(uint64_t word) { return word >> 32; }
    static constexpr int end_of(uint64_t word) { return int(word >> 16 & 0xffff); }
    static constexpr int next_of(uint64_t word) { return int(word & 0xffff); }

    struct Worker {
        Threads* its;
        int number;
        pthread_t thread;
    };

    static void* main(void* worker);
    void serve(int number);
    bool has_parts(int number) const;
    void work(int number);  // does parts until there are none
    void sleep(int number);

    Share m_shares[MOST];  // the first is the caller's
    alignas(64) std::atomic<int> m_done{0};
    void (*m_part)(void*, int) = nullptr;
    void* m_argument = nullptr;

    std::atomic<bool> m_taken{false}, m_ended{false};
    std::atomic<int> m_sleeping{0};
    pthread_mutex_t m_mutex;
    pthread_cond_t m_wake;
    bool m_ready = false;
    std::atomic<int> m_started{0};  // threads that came first may run while others are still being started
    Worker m_workers[MOST];
};

// Everything on the caller's thread.
inline void run_alone(void*, void (*part)(void*, int), void* argument, int count) {
    for (int number = 0; number < count; ++number) part(argument, number);
}

}  // namespace lc2fer
