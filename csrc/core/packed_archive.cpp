#include "core/packed_archive.h"

#include "core/hash.h"
#include "core/workspace.h"

namespace evsam {

void PackedArchive::begin(const std::string& name) {
  const std::uint64_t expected = hash_bytes(name.data(), name.size(), 0);
  std::uint64_t found = expected;
  value(found);
  failed_ = failed_ || found != expected;
}

std::uint64_t PackedArchive::take_word() {
  if (failed_ || next_ == words_.size()) {
    failed_ = true;
    return 0;
  }
  return words_[next_++];
}

// Each item has a word at least.
std::size_t PackedArchive::count_of(std::uint64_t size) {
  if (failed_ || size > words_.size() - next_) {
    failed_ = true;
    return 0;
  }
  return static_cast<std::size_t>(size);
}

void PackedArchive::note(const void* data, std::size_t bytes) {
  if (bytes == 0) return;
  pieces_.push_back({static_cast<const std::uint8_t*>(data), bytes});
  end_ = align_up(end_) + bytes;
}

const void* PackedArchive::take(std::uint64_t size, std::size_t element) {
  if (failed_ || size == 0) return nullptr;
  const std::size_t begin = align_up(end_);
  if (begin > content_.bytes || size > (content_.bytes - begin) / element) {
    failed_ = true;
    return nullptr;
  }
  const std::size_t bytes = static_cast<std::size_t>(size) * element;
  pieces_.push_back({content_.data + begin, bytes});
  end_ = begin + bytes;
  return pieces_.back().data;
}

}  // namespace evsam
