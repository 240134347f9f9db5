// More live numbers than the launch bounds leave registers for: the compiler has to spill.
extern "C" __global__ void __launch_bounds__(1024, 2) f32_spills__sm80(float* p) {
  float values[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) values[i] = p[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 64; ++i) p[i * 1024 + 1023 - threadIdx.x] = values[i] * values[63 - i];
}
