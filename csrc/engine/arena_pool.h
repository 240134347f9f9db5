// Memory for calls in progress. Each call borrows an arena and gives it back; as many stay as there were calls at one
// time, so that after the first calls nothing is allocated any more. Safe from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/aligned_buffer.h"

namespace evsam {

class ArenaPool {
 public:
  class Lease {
   public:
    Lease(ArenaPool& pool, AlignedBuffer<char> arena) : pool_(&pool), arena_(std::move(arena)) {}
    ~Lease() {
      if (pool_ != nullptr) pool_->give_back(std::move(arena_));
    }
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), arena_(std::move(other.arena_)) {}
    Lease& operator=(Lease&&) = delete;
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    char* data() { return arena_.data(); }
    std::size_t bytes() const { return arena_.bytes(); }

   private:
    friend class ArenaPool;

    ArenaPool* pool_;
    AlignedBuffer<char> arena_;
  };

  // At least `bytes`, aligned to kWorkspaceAlignment; what an earlier call left in it may still be there. An arena that
  // is too small is replaced by one that is not. Throws std::bad_alloc.
  Lease borrow(std::size_t bytes);

  std::size_t bytes() const;  // of all arenas, lent ones included

 private:
  void give_back(AlignedBuffer<char> arena);

  mutable std::mutex mutex_;
  std::vector<AlignedBuffer<char>> free_;
  std::size_t lent_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace evsam
