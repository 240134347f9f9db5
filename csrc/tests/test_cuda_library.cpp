// The library of CUDA kernels as nvcc built it links, knows its kernels, and says what is missing where there is no
// driver.
#include <cstdio>
#include <set>
#include <string>

#include "check.h"
#include "cuda/runtime.h"

int main() {
  const auto kernels = evsam::cuda::all_kernels();
  CHECK(!kernels.empty());
  std::set<std::string> names;
  for (const auto& kernel : kernels) {
    CHECK_MSG(names.insert(kernel.name).second, std::string("two kernels are called ") + kernel.name);
    CHECK_MSG(kernel.threads > 0 && kernel.threads <= 1024 && kernel.threads % 32 == 0,
              std::string(kernel.name) + ": expected whole warps, got threads " + std::to_string(kernel.threads));
  }

  evsam::cuda::Device device;
  const evsam::Status status = evsam::cuda::current_device(&device);
  if (status.ok()) {
    CHECK(device.multiprocessors > 0);
    CHECK(device.shared_bytes >= 48 * 1024);
  } else {
    std::printf("no device: %s\n", status.message().c_str());
    CHECK(status.message().find("CUDA error") != std::string::npos);
  }
  return evsam::test::test_result();
}
