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
    Threads() = default;
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;
    ~Threads();

    // Starts `count` threads less the caller's; as many as the system gives. False where it gives no lock.
    bool start(int count);

    int count() const { return m_started.load(std::memory_order_relaxed) + 1; }

    // Whether the caller may have them now; if so, they are its own until release().
    bool try_acquire() { return count() > 1 && !m_taken.exchange(true, std::memory_order_acquire); }
    void release() { m_taken.store(false, std::memory_order_release); }

    // part(argument, 0) .. part(argument, count - 1); count is below 2^15. The form of Pool::run.
    static void run(void* its, void (*part)(void*, int), void* argument, int count);

private:
    // A job's turn, the number of its parts, and that of the next part to do, in one word: what a thread takes belongs
    // to the job that it saw, or it takes nothing.
    static constexpr uint64_t turn_of(uint64_t word) { return word >> 32; }
    static constexpr int parts_of(uint64_t word) { return int(word >> 16 & 0xffff); }
    static constexpr int next_of(uint64_t word) { return int(word & 0xffff); }

    static void* main(void* its);
    void serve();
    bool work();  // does parts until there are none; false where there were none
    void sleep();

    std::atomic<uint64_t> m_job{0};
    std::atomic<int> m_done{0};
    void (*m_part)(void*, int) = nullptr;
    void* m_argument = nullptr;

    std::atomic<bool> m_taken{false}, m_ended{false};
    std::atomic<int> m_sleeping{0};
    pthread_mutex_t m_mutex;
    pthread_cond_t m_wake;
    bool m_ready = false;
    std::atomic<int> m_started{0};  // threads that came first may run while others are still being started
    pthread_t m_threads[64];
};

// Everything on the caller's thread.
inline void run_alone(void*, void (*part)(void*, int), void* argument, int count) {
    for (int number = 0; number < count; ++number) part(argument, number);
}

}  // namespace lc2fer
