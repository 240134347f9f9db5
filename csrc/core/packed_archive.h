// What ops packed, on its way to a file and back. An op names the fields of its packed weights once, for both ways, in
// a function fields(archive, packed): numbers become words of 64 bits, and buffers lie behind all words, from where
// they come back as views.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/kernels.h"

namespace evsam {

namespace narrow {
struct Kernel;
}

class PackedArchive {
 public:
  // The kernels for which weights are packed: not written, but set where they were set.
  struct UsedKernels {
    const Kernels* all = nullptr;
    const narrow::Kernel* narrow = nullptr;  // nullptr: none
  };

  // A buffer, in memory or in the content of a file.
  struct Piece {
    const std::uint8_t* data;
    std::size_t bytes;
  };

  // To write: notes words and pieces, which must live until they are written.
  explicit PackedArchive(const UsedKernels& kernels) : kernels_(kernels) {}
  // To read. content: aligned to kWorkspaceAlignment, and there for as long as what is read.
  PackedArchive(const UsedKernels& kernels, std::vector<std::uint64_t> words, Piece content)
      : kernels_(kernels), reading_(true), words_(std::move(words)), content_(content) {}

  const UsedKernels& kernels() const { return kernels_; }
  bool reading() const { return reading_; }

  // What follows is of that name.
  void begin(const std::string& name);

  // Integers, enumerations, bool and float.
  template <typename... Values>
  void values(Values&... each) {
    (value(each), ...);
  }

  template <typename Kernel>
  void kernel(const Kernel*& kernel, const Kernel* used) {
    bool set = kernel != nullptr;
    value(set);
    if (reading_) kernel = set ? used : nullptr;
  }

  template <typename T>
  void buffer(AlignedBuffer<T>& buffer) {
    std::uint64_t size = buffer.size();
    value(size);
    if (!reading_) return note(buffer.data(), buffer.bytes());
    const void* const data = take(size, sizeof(T));
    buffer = data == nullptr ? AlignedBuffer<T>()
                             : AlignedBuffer<T>::view(static_cast<const T*>(data), static_cast<std::size_t>(size));
  }

  // Items that have fields().
  template <typename T>
  void list(std::vector<T>& items) {
    std::uint64_t size = items.size();
    value(size);
    if (reading_) {
      items.clear();
      items.resize(count_of(size));
    }
    for (T& item : items) fields(*this, item);
  }

  // Of reading: whether everything was there, and nothing more.
  bool complete() const { return !failed_ && next_ == words_.size() && end_ == content_.bytes; }

  const std::vector<std::uint64_t>& words() const { return words_; }
  // In the order of the content, in which each begins at the next multiple of kWorkspaceAlignment.
  const std::vector<Piece>& pieces() const { return pieces_; }
  std::size_t content_bytes() const { return end_; }

 private:
  template <typename T>
  void value(T& x) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    static_assert(sizeof(T) <= sizeof(std::uint64_t));
    std::uint64_t word = 0;
    if (!reading_) {
      std::memcpy(&word, &x, sizeof(T));
      words_.push_back(word);
      return;
    }
    word = take_word();
    if constexpr (std::is_same_v<T, bool>) {
      x = word != 0;  // other bits would be no bool
    } else {
      std::memcpy(&x, &word, sizeof(T));
    }
  }

  std::uint64_t take_word();
  std::size_t count_of(std::uint64_t size);
  void note(const void* data, std::size_t bytes);
  const void* take(std::uint64_t size, std::size_t element);

  UsedKernels kernels_;
  bool reading_ = false;
  bool failed_ = false;
  std::vector<std::uint64_t> words_;
  std::size_t next_ = 0;  // word
  Piece content_ = {nullptr, 0};
  std::size_t end_ = 0;  // of the pieces so far, in the content
  std::vector<Piece> pieces_;
};

}  // namespace evsam
