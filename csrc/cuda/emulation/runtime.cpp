// The CPU as a device: the host's memory is the device's, and every kernel is done when launch() returns.
#include "cuda/runtime.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "cuda/emulation/launch_log.h"
#include "cuda/emulation/scheduler.h"
#include "cuda/types.h"

namespace evsam::cuda {
namespace {

// As large as an A100, with the shared memory of the smaller chips of its generation, which every kernel must fit.
Device device{0, 108, 80, 99 * 1024};

bool logging = false;
bool executing = true;
std::vector<emulation::LaunchRecord> launch_log;

// EVSAM_CUDA_SEED: a number other than 0 runs the threads of each block in another order.
unsigned seed_from_environment() {
  const char* text = std::getenv("EVSAM_CUDA_SEED");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 0;
}

}  // namespace

namespace emulation {

void start_launch_log(bool execute) {
  launch_log.clear();
  logging = true;
  executing = execute;
}

std::vector<LaunchRecord> take_launch_log() {
  logging = false;
  executing = true;
  return std::exchange(launch_log, {});
}

void set_device(const Device& new_device) { device = new_device; }

}  // namespace emulation

Status current_device(Device* current) {
  *current = device;
  return {};
}

Status launch_any(const AnyKernel& kernel, Dim3 grid, std::size_t shared_bytes, Stream, const void* args,
                  std::size_t args_bytes) {
  if (shared_bytes > device.shared_bytes) {
    return Status::unavailable(
        expected_got(kernel.name, "at most " + std::to_string(device.shared_bytes) + " bytes of shared memory",
                     std::to_string(shared_bytes)));
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) {
    return Status::invalid_argument(
        expected_got(kernel.name, "a grid within CUDA's limits",
                     std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z)));
  }
  if (logging) {
    const auto* bytes = static_cast<const std::uint8_t*>(args);
    launch_log.push_back({kernel.name, grid, kernel.threads, shared_bytes, {bytes, bytes + args_bytes}, 0});
  }
  if (!executing) return {};
  emulation::Grid work;
  work.blocks = grid;
  work.threads = kernel.threads;
  work.shared_bytes = shared_bytes;
  work.call = kernel.call;
  work.function = kernel.function;
  work.args = args;
  work.seed = seed_from_environment();
  static_cast<void>(emulation::take_matrix_conflicts());
  emulation::run_grid(work);
  if (logging) launch_log.back().matrix_conflicts = emulation::take_matrix_conflicts();
  return {};
}

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
