#include "core/mapped_file.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <cerrno>
#include <system_error>

namespace evsam {

#if defined(_WIN32)

namespace {

Status system_error(const std::string& path) {
  const std::error_code code(static_cast<int>(GetLastError()), std::system_category());
  return Status::invalid_argument(expected_got(path, "a file that can be read", code.message()));
}

// Closed by itself.
class Handle {
 public:
  explicit Handle(HANDLE handle) : handle_(handle) {}
  ~Handle() {
    if (valid()) CloseHandle(handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  bool valid() const { return handle_ != nullptr && handle_ != INVALID_HANDLE_VALUE; }
  HANDLE get() const { return handle_; }

 private:
  HANDLE handle_;
};

// Empty where the path is not UTF-8.
std::wstring wide(const std::string& path) {
  const int bytes = static_cast<int>(path.size());
  std::wstring text(static_cast<std::size_t>(bytes), L'\0');  // never more units than bytes
  text.resize(static_cast<std::size_t>(
      MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path.data(), bytes, text.data(), bytes)));
  return text;
}

}  // namespace

MappedFile::~MappedFile() {
  if (data_ != nullptr) UnmapViewOfFile(data_);
}

Status MappedFile::open(const std::string& path, MappedFile* file) {
  // Others may replace or remove the file meanwhile, as elsewhere.
  const Handle opened(CreateFileW(wide(path).c_str(), GENERIC_READ,
                                  FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                                  FILE_ATTRIBUTE_NORMAL, nullptr));
  LARGE_INTEGER size = {};
  if (!opened.valid() || (GetFileType(opened.get()) == FILE_TYPE_DISK && GetFileSizeEx(opened.get(), &size) == 0)) {
    return system_error(path);
  }
  if (GetFileType(opened.get()) != FILE_TYPE_DISK) {
    return Status::invalid_argument(expected_got(path, "a regular file", "something else"));
  }
  MappedFile mapped;
  if (size.QuadPart > 0) {
    const Handle mapping(CreateFileMappingW(opened.get(), nullptr, PAGE_READONLY, 0, 0, nullptr));
    void* const data = mapping.valid() ? MapViewOfFile(mapping.get(), FILE_MAP_READ, 0, 0, 0) : nullptr;
    if (data == nullptr) return system_error(path);
    mapped.data_ = static_cast<std::uint8_t*>(data);
    mapped.size_ = static_cast<std::size_t>(size.QuadPart);
  }
  *file = std::move(mapped);
  return Status();
}

void drop_file_pages(const void* data, std::size_t size) {
  // Of pages that are not locked it says that they are not, and takes them out of the working set.
  if (size > 0) (void)VirtualUnlock(const_cast<void*>(data), size);
}

#else

namespace {

Status system_error(const std::string& path) {
  if (errno == ENOMEM) return Status::out_of_memory();
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

#endif

}  // namespace evsam
