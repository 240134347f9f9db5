#include "core/cpu.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace evsam {
namespace {

[[maybe_unused]] constexpr bool bit(unsigned word, int index) { return ((word >> index) & 1U) != 0; }

#if defined(__x86_64__)

unsigned xgetbv0() {
  unsigned low = 0;
  unsigned high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Of XCR0: the operating system saves tile registers and their configuration.
constexpr unsigned kTileState = 0x60000U;

// Linux hands tile registers only to processes that ask for them, once for all threads.
bool tiles_permitted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // its bit of XCR0
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures detect() {
  CpuFeatures features;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(0, &a, &b, &c, &d) != 0) features.intel = b == 0x756e6547U;  // "Genu", of GenuineIntel
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !bit(c, 27)) return features;     // no OSXSAVE: only SSE is safe
  const unsigned saved = xgetbv0();
  const bool ymm = (saved & 0x06U) == 0x06U;
  const bool zmm = ymm && (saved & 0xE0U) == 0xE0U;
  features.fma = ymm && bit(c, 12);
  features.f16c = ymm && bit(c, 29);
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  const unsigned leaf7_subleaves = a;
  features.avx2 = ymm && bit(b, 5);
  features.avx512f = zmm && bit(b, 16);
  features.avx512dq = zmm && bit(b, 17);
  features.avx512bw = zmm && bit(b, 30);
  features.avx512vl = zmm && bit(b, 31);
  features.avx512vnni = zmm && bit(c, 11);
  features.avx512_fp16 = zmm && bit(d, 23);
  const bool tiles = bit(d, 24) && (saved & kTileState) == kTileState && tiles_permitted();
  features.amx_bf16 = tiles && bit(d, 22);
  features.amx_int8 = tiles && bit(d, 25);
  if (leaf7_subleaves < 1 || __get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return features;
  features.avx_vnni = ymm && bit(a, 4);
  features.avx512_bf16 = zmm && bit(a, 5);
  return features;
}

#elif defined(__aarch64__)

#if defined(__APPLE__)
// Names: Apple's "Determining Instruction Set Characteristics". An unknown one, of an older system, is false.
bool has(const char* name) {
  int value = 0;
  std::size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

CpuFeatures detect() {
  CpuFeatures features;
  features.neon = true;  // part of the base architecture
#if defined(__linux__)
  // Bit numbers of the kernel's interface (asm/hwcap.h), spelled out because old headers lack the later ones.
  const unsigned long hwcap = getauxval(AT_HWCAP);
  const unsigned long hwcap2 = getauxval(AT_HWCAP2);
  features.fp16 = bit(static_cast<unsigned>(hwcap), 10);  // ASIMDHP: on vectors
  features.dotprod = bit(static_cast<unsigned>(hwcap), 20);
  features.i8mm = bit(static_cast<unsigned>(hwcap2), 13);
  features.bf16 = bit(static_cast<unsigned>(hwcap2), 14);
#elif defined(__APPLE__)
  features.fp16 = has("hw.optional.arm.FEAT_FP16");
  features.dotprod = has("hw.optional.arm.FEAT_DotProd");
  features.i8mm = has("hw.optional.arm.FEAT_I8MM");
  features.bf16 = has("hw.optional.arm.FEAT_BF16");
#endif
  return features;
}

#else

CpuFeatures detect() { return {}; }

#endif

bool in_this_build(Isa isa) {
// evsam_isas.inc, written by CMake, has one line EVSAM_ISA(isa) per instruction set of this build.
#define EVSAM_ISA(each) \
  if (isa == Isa::each) return true;
#include "evsam_isas.inc"
#undef EVSAM_ISA
  return false;
}

bool on_this_machine(Isa isa) {
  const CpuFeatures& cpu = cpu_features();
  switch (isa) {
    case Isa::scalar: return true;
    case Isa::avx2: return cpu.avx2 && cpu.fma && cpu.f16c;
    case Isa::avx512:
#if EVSAM_EMULATE_AVX512
      return true;
#else
      return cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.avx2 && cpu.fma && cpu.f16c;
#endif
    case Isa::neon: return cpu.neon;
    case Isa::wasm: return true;  // a browser without SIMD128 does not load the module at all
  }
  return false;
}

template <typename Filter>
std::string names(const Filter& filter) {
  std::string list;
  for (const Isa isa : kAllIsas) {
    if (filter(isa)) list += (list.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  return list;
}

struct Selection {
  Status status;
  Isa isa = Isa::scalar;
};

Selection select_isa() {
  Selection selection;
  const char* forced = std::getenv("EVSAM_ISA");
  if (forced == nullptr || *forced == '\0') {
    for (const Isa isa : kAllIsas) {
      if (isa_supported(isa)) selection.isa = isa;
    }
    return selection;
  }
  for (const Isa isa : kAllIsas) {
    if (std::string(forced) != isa_name(isa)) continue;
    selection.isa = isa;
    if (!isa_supported(isa)) {
      selection.status = Status::unavailable(expected_got(
          "EVSAM_ISA", "an instruction set of this machine and build (" + names(isa_supported) + ")", forced));
    }
    return selection;
  }
  selection.status =
      Status::unavailable(expected_got("EVSAM_ISA", "one of " + names([](Isa) { return true; }), forced));
  return selection;
}

#if defined(__linux__)
// Containers limit CPU time by a quota the affinity mask does not show. 0: no limit.
double container_cpu_quota() {
  double period = 0;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  if (v2 >> quota >> period) return quota == "max" || period <= 0 ? 0.0 : std::strtod(quota.c_str(), nullptr) / period;
  double micros = 0;
  std::ifstream quota_v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_v1("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_v1 >> micros && period_v1 >> period && micros > 0 && period > 0) return micros / period;
  return 0.0;
}
#endif

int count_usable_cpus() {
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) cpus = CPU_COUNT(&mask);
  const double quota = container_cpu_quota();
  if (quota > 0) cpus = std::min(cpus, static_cast<int>(quota + 0.999));
#endif
  return std::max(cpus, 1);
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar: return "scalar";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::neon: return "neon";
    case Isa::wasm: return "wasm";
  }
  return "unknown";
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

bool isa_supported(Isa isa) { return in_this_build(isa) && on_this_machine(isa); }

Status selected_isa(Isa* isa) {
  static const Selection selection = select_isa();
  *isa = selection.isa;
  return selection.status;
}

int usable_cpus() {
  static const int cpus = count_usable_cpus();
  return cpus;
}

}  // namespace evsam
