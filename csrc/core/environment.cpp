#include "core/environment.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace evsam {

Status threads_of_environment(int* threads) {
  *threads = 0;
  const char* const text = std::getenv("EVSAM_NUM_THREADS");
  if (text == nullptr || *text == '\0') return {};
  const char* const end = text + std::strlen(text);
  int count = 0;
  const auto [last, error] = std::from_chars(text, end, count);
  if (error != std::errc() || last != end || count < 0) {
    return Status::unavailable(
        expected_got("EVSAM_NUM_THREADS", "a number of threads, 1 or more, or 0 for all processors", text));
  }
  *threads = count;
  return {};
}

}  // namespace evsam
