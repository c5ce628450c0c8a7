// Memory at multiples of 64 bytes that goes when its owner goes; there are no exceptions here, so null says that there
// is no more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace lc2fer {

constexpr size_t ALIGNMENT = 64;

inline constexpr size_t aligned(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

inline void* take(size_t bytes) {
    return aligned_alloc(ALIGNMENT, aligned(bytes + (bytes == 0)));
}

// Pieces that live as long as it does.
class Memory {
public:
    Memory() = default;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() {
        while (m_last != nullptr) {
            Piece* before = m_last->before;
            free(m_last);
            m_last = before;
        }
    }

    void* piece(size_t bytes) {
        auto* made = static_cast<Piece*>(take(sizeof(Piece) + bytes));
        if (made == nullptr) return nullptr;
        made->before = m_last;
        m_last = made;
        return made + 1;
    }

    template <class T>
    T* piece_of(size_t count) {
        return static_cast<T*>(piece(count * sizeof(T)));
    }

private:
    struct alignas(ALIGNMENT) Piece {
        Piece* before;
    };
    Piece* m_last = nullptr;
};

}  // namespace lc2fer
