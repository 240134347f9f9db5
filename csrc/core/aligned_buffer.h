// Floats (or other plain data) that live as long as their owner: packed weights and arenas. Large ones ask the system
// for huge pages: matrix products walk through many rows at once, and each row on its own 4 KiB page would miss the
// TLB. A buffer may also be a view of memory that somebody else owns and nobody writes to, such as a mapped file.
#pragma once

#include <cstddef>
#include <utility>

namespace evsam {

// Zero-filled memory aligned to kWorkspaceAlignment. nullptr where bytes is 0. Throws std::bad_alloc.
void* allocate_aligned(std::size_t bytes);
void free_aligned(void* data);

template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size) : data_(static_cast<T*>(allocate_aligned(size * sizeof(T)))), size_(size) {}
  ~AlignedBuffer() {
    if (owns_) free_aligned(data_);
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        owns_(std::exchange(other.owns_, true)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(owns_, other.owns_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  // Aligned memory that outlives the buffer, and may be read-only: writing through data() is not allowed.
  static AlignedBuffer view(const T* data, std::size_t size) {
    AlignedBuffer buffer;
    buffer.data_ = const_cast<T*>(data);
    buffer.size_ = size;
    buffer.owns_ = false;
    return buffer;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
  bool owns_ = true;
};

}  // namespace evsam
