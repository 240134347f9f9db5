// test_registration <library>: in a process that has libnvinfer, the plugins register themselves when the library is
// loaded, and step back for whoever asks for them.
#include <NvInferRuntime.h>

#include <cstdio>
#include <string>

#include "check.h"
#include "host.h"

extern "C" const char* fake_nvinfer_log() noexcept;

namespace {

using namespace evsam::test;

std::int32_t registered() {
  std::int32_t count = 0;
  getPluginRegistry()->getAllCreators(&count);
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "expected the path of the library\n");
    return 2;
  }
  CHECK(registered() == 0);
  const Library library(argv[1]);
  CHECK(registered() == 5);

  // Errors go to the process's logger.
  auto* creator =
      static_cast<nvinfer1::IPluginCreatorV3One*>(getPluginRegistry()->getCreator("EvsamUpsampleAdd", "1", ""));
  CHECK(creator != nullptr);
  CHECK(create(*creator, Fields()) == nullptr);
  CHECK(std::string(fake_nvinfer_log()) == "EvsamUpsampleAdd: mode: expected a field of type text, got none");

  // As loadLibrary() does, which fails for what is registered already.
  std::int32_t count = 0;
  nvinfer1::IPluginCreatorInterface* const* creators = library.creators(count);
  CHECK(count == 5);
  CHECK(registered() == 0);
  for (std::int32_t i = 0; i < count; ++i) CHECK(getPluginRegistry()->registerCreator(*creators[i], ""));
  CHECK(registered() == 5);

  // They are the caller's now.
  library.creators(count);
  CHECK(registered() == 5);
  return test_result();
}
