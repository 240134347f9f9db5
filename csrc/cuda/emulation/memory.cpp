// The host's memory is the device's, and every kernel is done when launch() returns.
#include "cuda/memory.h"

#include <cstdlib>
#include <cstring>

namespace evsam::cuda {

Status device_count(int* count) {
  *count = 1;
  return {};
}

Status device_name(int, std::string* name) {
  *name = "CPU emulation";
  return {};
}

Status get_device(int* device) {
  *device = 0;
  return {};
}

Status set_device(int) { return {}; }

Status device_of(const void*, int* device) {
  *device = 0;
  return {};
}

Status allocate(std::size_t bytes, void** data) {
  // Rows of matrices are read 16 bytes at a time, which needs the alignment that cudaMalloc gives too.
  constexpr std::size_t kAlignment = 256;
  *data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  return *data != nullptr || bytes == 0 ? Status() : Status::unavailable("allocate: out of memory");
}

void release(void* data) noexcept { std::free(data); }

Status allocate_on(Stream, std::size_t bytes, void** data) {
  EVSAM_RETURN_IF_ERROR(allocate(bytes, data));
  std::memset(*data, 0xff, bytes);  // NaN: scratch memory that is read before it is written shows
  return {};
}

void release_on(Stream, void* data) noexcept { release(data); }

Status copy(void* to, const void* from, std::size_t bytes, Stream) {
  std::memcpy(to, from, bytes);
  return {};
}

Status order_after(Stream, Stream) { return {}; }

}  // namespace evsam::cuda
