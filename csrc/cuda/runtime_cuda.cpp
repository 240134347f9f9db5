#include "cuda/runtime.h"

#include <cuda_runtime_api.h>

namespace evsam::cuda {
namespace {

constexpr std::size_t kSharedBytesWithoutOptIn = 48 * 1024;

Status status_of(const char* call, cudaError_t error) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // an error that was reported must not turn up in the next launch
  return Status::unavailable(std::string(call) + ": " + cudaGetErrorString(error) + " (CUDA error " +
                             std::to_string(static_cast<int>(error)) + ")");
}

Status attribute(cudaDeviceAttr which, int device, int* value) {
  return status_of("cudaDeviceGetAttribute", cudaDeviceGetAttribute(value, which, device));
}

cudaStream_t handle(Stream stream) { return reinterpret_cast<cudaStream_t>(stream); }

}  // namespace

Status current_device(Device* device) {
  EVSAM_RETURN_IF_ERROR(get_device(&device->index));
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
    EVSAM_RETURN_IF_ERROR(
        status_of(kernel.name, cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    static_cast<int>(shared_bytes))));
  }
  void* parameters[] = {const_cast<void*>(args)};
  return status_of(kernel.name, cudaLaunchKernel(kernel.function, dim3(grid.x, grid.y, grid.z), dim3(kernel.threads),
                                                 parameters, shared_bytes, handle(stream)));
}

Status device_count(int* count) { return status_of("cudaGetDeviceCount", cudaGetDeviceCount(count)); }

Status device_name(int device, std::string* name) {
  cudaDeviceProp properties;
  EVSAM_RETURN_IF_ERROR(status_of("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, device)));
  *name = properties.name;
  return {};
}

Status get_device(int* device) { return status_of("cudaGetDevice", cudaGetDevice(device)); }

Status set_device(int device) { return status_of("cudaSetDevice", cudaSetDevice(device)); }

Status device_of(const void* address, int* device) {
  cudaPointerAttributes attributes;
  EVSAM_RETURN_IF_ERROR(status_of("cudaPointerGetAttributes", cudaPointerGetAttributes(&attributes, address)));
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
    return Status::invalid_argument("address: expected device memory, got host memory");
  }
  *device = attributes.device;
  return {};
}

Status allocate(std::size_t bytes, void** data) { return status_of("cudaMalloc", cudaMalloc(data, bytes)); }

void release(void* data) noexcept { cudaFree(data); }

Status allocate_on(Stream stream, std::size_t bytes, void** data) {
  return status_of("cudaMallocAsync", cudaMallocAsync(data, bytes, handle(stream)));
}

void release_on(Stream stream, void* data) noexcept { cudaFreeAsync(data, handle(stream)); }

Status copy(void* to, const void* from, std::size_t bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(
      status_of("cudaMemcpyAsync", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle(stream))));
  return status_of("cudaStreamSynchronize", cudaStreamSynchronize(handle(stream)));
}

Status order_after(Stream consumer, Stream producer) {
  if (consumer == producer) return {};
  cudaEvent_t event = nullptr;
  EVSAM_RETURN_IF_ERROR(status_of("cudaEventCreate", cudaEventCreateWithFlags(&event, cudaEventDisableTiming)));
  Status status = status_of("cudaEventRecord", cudaEventRecord(event, handle(producer)));
  if (status.ok()) status = status_of("cudaStreamWaitEvent", cudaStreamWaitEvent(handle(consumer), event, 0));
  cudaEventDestroy(event);  // the runtime frees it once it has happened
  return status;
}

}  // namespace evsam::cuda
