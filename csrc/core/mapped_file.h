// A file mapped into memory, read-only. Pages are read when they are touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "evsam/status.h"

namespace evsam {

class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // path: UTF-8 on Windows, bytes elsewhere. Fails where the path is no regular file, or cannot be read. Replacing the file on disk by another one (rename) is
  // harmless afterwards; cutting it short in place is not, as for every mapping.
  static Status open(const std::string& path, MappedFile* file);

  // The same for a file that is open already, and may be closed afterwards. Not on Windows, where nothing calls it.
  static Status map(const std::string& path, int descriptor, MappedFile* file);

  const std::uint8_t* data() const { return data_; }  // nullptr for an empty file
  std::size_t size() const { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// Takes the pages that lie wholly inside [data, data + size) out of this process's memory. Only for read-only mappings
// of files: their pages come back from the file when they are touched again. Advice, which the system may ignore.
void drop_file_pages(const void* data, std::size_t size);

}  // namespace evsam
