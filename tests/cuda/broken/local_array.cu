// An array with an index that only the run knows cannot lie in registers.
extern "C" __global__ void __launch_bounds__(128) f32_local_array__sm80(float* p, const int* index) {
  float values[32];
#pragma unroll
  for (int i = 0; i < 32; ++i) values[i] = p[i * 128 + threadIdx.x];
  for (int i = 0; i < 32; ++i) values[index[i]] += p[index[i + 32]];
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 32; ++i) sum += values[i] * values[i];
  p[threadIdx.x] = sum;
}
