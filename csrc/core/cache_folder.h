// A folder of large files that can be made again. Other users must not be able to put files there: it is used only if
// it is this user's and writable by nobody else, and so is each file in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/mapped_file.h"
#include "evsam/status.h"

namespace evsam {

class CacheFolder {
 public:
  CacheFolder() = default;
  ~CacheFolder();
  CacheFolder(CacheFolder&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  CacheFolder& operator=(CacheFolder&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  CacheFolder(const CacheFolder&) = delete;
  CacheFolder& operator=(const CacheFolder&) = delete;

  // Makes the folder, and those above it, where they are missing.
  static Status open(const std::string& path, CacheFolder* folder);

  // Maps a file, and notes that it was used. Fails where there is none, or one that is not to be trusted.
  Status map(const std::string& name, MappedFile* file) const;

  struct Part {
    const void* data;
    std::size_t bytes;
  };

  // Puts a file of these parts there, whole or not at all; it takes the place of one of that name. Before, those files
  // that were not used for longest are removed until all together have `limit` bytes at most. It does not wait for the
  // disk: after a power failure there may be a file of this size with other content. busy: whether it has left the
  // matter to another process, which writes there just now.
  Status write(const std::string& name, const std::vector<Part>& parts, std::uint64_t limit, bool* busy) const;

  void remove(const std::string& name) const;

 private:
  Status make_room(const std::string& name, std::uint64_t bytes, std::uint64_t limit) const;

  std::string path_;
  int descriptor_ = -1;
};

}  // namespace evsam
