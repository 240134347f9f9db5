#include "engine/arena_pool.h"

#include <algorithm>

namespace evsam {

ArenaPool::Lease ArenaPool::borrow(std::size_t bytes) {
  AlignedBuffer<char> arena;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.reserve(free_.size() + lent_ + 1);  // so that giving back cannot fail
    ++lent_;
    // The smallest that is large enough, or else the largest, which is then replaced.
    const auto larger = [](const AlignedBuffer<char>& a, const AlignedBuffer<char>& b) { return a.size() < b.size(); };
    auto best = std::max_element(free_.begin(), free_.end(), larger);
    for (auto candidate = free_.begin(); candidate != free_.end(); ++candidate) {
      if (candidate->size() >= bytes && candidate->size() < best->size()) best = candidate;
    }
    if (best != free_.end()) {
      arena = std::move(*best);
      free_.erase(best);
    }
    if (arena.size() >= bytes) return Lease(*this, std::move(arena));
    bytes_ -= arena.size();
  }
  Lease lease(*this, AlignedBuffer<char>());  // drops the old arena first, so that both are never held
  arena = AlignedBuffer<char>();
  lease.arena_ = AlignedBuffer<char>(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  bytes_ += bytes;
  return lease;
}

std::size_t ArenaPool::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_;
}

void ArenaPool::give_back(AlignedBuffer<char> arena) {
  const std::lock_guard<std::mutex> lock(mutex_);
  --lent_;
  if (arena.size() > 0) free_.push_back(std::move(arena));
}

}  // namespace evsam
