// Instruction-set choice and the list of kernels. With the argument "forced": what EVSAM_ISA of the environment does.
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "check.h"
#include "core/cpu.h"
#include "core/kernels.h"

namespace {

using namespace evsam;

void test_forced() {
  const char* forced = std::getenv("EVSAM_ISA");
  CHECK(forced != nullptr);
  if (forced == nullptr) return;
  Isa isa = Isa::scalar;
  const Status status = selected_isa(&isa);
  const auto contains = [&](const char* text) { return status.message().find(text) != std::string::npos; };
  bool known = false;
  for (Isa each : kAllIsas) {
    if (std::strcmp(isa_name(each), forced) != 0) continue;
    known = true;
    CHECK(isa == each);
    CHECK(status.ok() == isa_supported(each));
    if (!status.ok()) CHECK(contains("EVSAM_ISA: expected an instruction set of this machine and build (scalar"));
  }
  if (!known) {
    CHECK(!status.ok() && status.code() == StatusCode::kUnavailable);
    CHECK(contains("EVSAM_ISA: expected one of scalar, avx2, avx512, neon, wasm, got nonsense"));
  }
}

void test_default() {
  Isa isa = Isa::scalar;
  CHECK(selected_isa(&isa).ok());
  CHECK(isa_supported(isa));
  CHECK(isa_supported(Isa::scalar));
  CHECK(usable_cpus() >= 1);
#if defined(__aarch64__)
  CHECK(isa == Isa::neon);
#endif
}

void test_kernel_names() {
  std::set<std::string> names;
  for (const KernelInfo& row : list_kernels()) {
    const std::string& name = row.name;
    CHECK_MSG(names.insert(name).second, "two kernels named " + name);
    CHECK_MSG(name.find(std::string("_") + row.op + "_") != std::string::npos, name);
    const std::string suffix = std::string("__") + isa_name(row.isa);
    CHECK_MSG(name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix, name);
  }
  CHECK(names.count("f32_pointwise__scalar") == 1);
}

void test_tables() {
  const Kernels* selected = nullptr;
  CHECK(selected_kernels(&selected).ok() && selected != nullptr);
  bool runnable = false;
  for (const Kernels* kernels : runnable_kernels()) {
    CHECK(kernels == kernels_for(kernels->isa) && isa_supported(kernels->isa));
    runnable = runnable || kernels == selected;
  }
  CHECK(runnable);
  CHECK(runnable_kernels().front() == kernels_for(Isa::scalar) && runnable_kernels().back() == selected);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "forced") == 0) {
    test_forced();
  } else {
    unsetenv("EVSAM_ISA");
    test_default();
    test_kernel_names();
    test_tables();
  }
  return evsam::test::test_result();
}
