#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace evsam {
namespace {

Status system_error(const std::string& path) {
  return Status::invalid_argument(
      expected_got(path, "a file that can be read", std::generic_category().message(errno)));
}

}  // namespace

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, size_);
}

Status MappedFile::map(const std::string& path, int descriptor, MappedFile* file) {
  struct stat status = {};
  if (fstat(descriptor, &status) != 0) return system_error(path);
  if (!S_ISREG(status.st_mode)) {
    return Status::invalid_argument(
        expected_got(path, "a regular file", S_ISDIR(status.st_mode) ? "a directory" : "something else"));
  }
  MappedFile mapped;
  if (status.st_size > 0) {
    const std::size_t bytes = static_cast<std::size_t>(status.st_size);
    void* const data = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) return system_error(path);
    mapped.data_ = static_cast<std::uint8_t*>(data);
    mapped.size_ = bytes;
  }
  *file = std::move(mapped);
  return Status();
}

Status MappedFile::open(const std::string& path, MappedFile* file) {
  // Without O_NONBLOCK a named pipe would block here until somebody writes to it.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return system_error(path);
  const Status status = map(path, descriptor, file);
  ::close(descriptor);
  return status;
}

void drop_file_pages(const void* data, std::size_t size) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t first = (address + page - 1) / page * page;
  const std::uintptr_t last = (address + size) / page * page;
  if (first < last) (void)madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace evsam
