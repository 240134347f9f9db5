// libFuzzer's entry, once per target: clang only, EVSAM_FUZZ=ON. `--seeds FOLDER` writes the contents to begin with.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string message;
  evsam::fuzz::EVSAM_FUZZ_TARGET().check(data, size, &message);
  return 0;
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc != 3 || std::strcmp((*argv)[1], "--seeds") != 0) return 0;
  int number = 0;
  for (const std::string& seed : evsam::fuzz::EVSAM_FUZZ_TARGET().seeds) {
    std::ofstream((*argv)[2] + ("/seed" + std::to_string(number++)), std::ios::binary) << seed;
  }
  std::exit(EXIT_SUCCESS);
}
