#include <cuda_runtime_api.h>

#include <string>

#include "cuda/launch.h"

namespace evsam::cuda {
namespace {

constexpr std::size_t kSharedBytesWithoutOptIn = 48 * 1024;

Status error_of(const char* call, cudaError_t error) {
  return Status::unavailable(std::string(call) + ": " + cudaGetErrorString(error) + " (CUDA error " +
                             std::to_string(static_cast<int>(error)) + ")");
}

Status attribute(cudaDeviceAttr which, int device, int* value) {
  const cudaError_t error = cudaDeviceGetAttribute(value, which, device);
  return error == cudaSuccess ? Status() : error_of("cudaDeviceGetAttribute", error);
}

}  // namespace

Status current_device(Device* device) {
  if (const cudaError_t error = cudaGetDevice(&device->index); error != cudaSuccess) {
    return error_of("cudaGetDevice", error);
  }
  int major = 0;
  int minor = 0;
  int shared = 0;
  EVSAM_RETURN_IF_ERROR(attribute(cudaDevAttrMultiProcessorCount, device->index, &device->multiprocessors));
  EVSAM_RETURN_IF_ERROR(attribute(cudaDevAttrComputeCapabilityMajor, device->index, &major));
  EVSAM_RETURN_IF_ERROR(attribute(cudaDevAttrComputeCapabilityMinor, device->index, &minor));
  EVSAM_RETURN_IF_ERROR(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device->index, &shared));
  device->compute_capability = 10 * major + minor;
  device->shared_bytes = static_cast<std::size_t>(shared);
  return {};
}

Status launch_any(const AnyKernel& kernel, Dim3 grid, std::size_t shared_bytes, Stream stream, const void* args,
                  std::size_t) {
  if (shared_bytes > kSharedBytesWithoutOptIn) {
    const cudaError_t error = cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return error_of(kernel.info.name, error);
  }
  void* parameters[] = {const_cast<void*>(args)};
  const cudaError_t error = cudaLaunchKernel(kernel.function, dim3(grid.x, grid.y, grid.z), dim3(kernel.info.threads),
                                             parameters, shared_bytes, reinterpret_cast<cudaStream_t>(stream));
  return error == cudaSuccess ? Status() : error_of(kernel.info.name, error);
}

}  // namespace evsam::cuda
