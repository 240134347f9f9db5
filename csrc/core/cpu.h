// What this processor can do, and which instruction set the kernels use.
#pragma once

#include <string>

#include "evsam/status.h"

namespace evsam {

// Instruction sets. Each has its vectors (isa/<isa>.h), its compiler flags (cmake/EvsamIsa.cmake) and its namespace. Of
// those that one machine runs, a better one comes later.
enum class Isa { scalar, avx2, avx512, neon, wasm };
inline constexpr Isa kAllIsas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::neon, Isa::wasm};

const char* isa_name(Isa isa);

// False where the processor also has the instructions but the operating system does not save the registers.
struct CpuFeatures {
  // x86-64
  bool intel = false;  // the vendor
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512vnni = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool avx_vnni = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;
  // aarch64
  bool neon = false;
  bool fp16 = false;
  bool dotprod = false;
  bool i8mm = false;
  bool bf16 = false;
};

const CpuFeatures& cpu_features();

// Whether this build holds the kernels and this machine runs them.
bool isa_supported(Isa isa);

// The one named by the environment variable EVSAM_ISA, or the best supported one. The variable is read once.
Status selected_isa(Isa* isa);

// Hardware threads this process may use: affinity mask and container quota taken into account.
int usable_cpus();

}  // namespace evsam
