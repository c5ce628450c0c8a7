// The threads of the programs beside this file.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

// The form of Pool::run, with the number of threads as what it is given. Parts go to whichever thread is free, so that
// no two runs share them alike.
inline void run(void* threads, void (*part)(void*, int), void* argument, int count) {
    std::atomic<int> next{0};
    const auto work = [&] {
        for (int i = next++; i < count; i = next++) part(argument, i);
    };
    std::vector<std::thread> others;
    for (int i = 1; i < *static_cast<int*>(threads); ++i) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
}
