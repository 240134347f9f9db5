// A matrix product on the ordinary arithmetic units, with shared memory of a size fixed at compile time.
extern "C" __global__ void __launch_bounds__(256) f32_no_tensor_cores__sm80(const float* a, const float* b, float* c) {
  __shared__ float tile[256];
  float sum = 0.0f;
  for (int k = 0; k < 64; ++k) {
    tile[threadIdx.x] = a[k * 256 + threadIdx.x];
    __syncthreads();
    for (int i = 0; i < 256; ++i) sum += tile[i] * b[k * 256 + i];
    __syncthreads();
  }
  c[blockIdx.x * 256 + threadIdx.x] = sum;
}
