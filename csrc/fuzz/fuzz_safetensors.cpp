// libFuzzer's entry: clang only, EVSAM_FUZZ=ON. `fuzz_safetensors --seeds FOLDER` writes the files to begin with.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "fuzz/safetensors_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string message;
  evsam::fuzz::check_safetensors(data, size, &message);
  return 0;
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc != 3 || std::strcmp((*argv)[1], "--seeds") != 0) return 0;
  int number = 0;
  for (const std::string& seed : evsam::fuzz::seed_files()) {
    std::ofstream((*argv)[2] + ("/seed" + std::to_string(number++)), std::ios::binary) << seed;
  }
  std::exit(EXIT_SUCCESS);
}
