#include "core/environment.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>

namespace evsam {
namespace {

// What Python's expanduser puts for ~, whose folder evsam.weights uses.
#if defined(_WIN32)
constexpr char kHome[] = "USERPROFILE";
#else
constexpr char kHome[] = "HOME";
#endif

// nullptr where it is not set, or empty.
const char* variable(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr || *text == '\0' ? nullptr : text;
}

template <typename Number>
bool read_number(const char* text, Number* number) {
  const char* const end = text + std::strlen(text);
  const auto [last, error] = std::from_chars(text, end, *number);
  return error == std::errc() && last == end;
}

std::string cache_folder() {
  if (const char* const chosen = variable("EVSAM_CACHE"); chosen != nullptr) {
    const char* const home = variable(kHome);
    const bool of_home = chosen[0] == '~' && (chosen[1] == '/' || chosen[1] == '\0') && home != nullptr;
    return of_home ? std::string(home) + (chosen + 1) : chosen;
  }
  if (const char* const caches = variable("XDG_CACHE_HOME"); caches != nullptr) return std::string(caches) + "/evsam";
  const char* const home = variable(kHome);
  return home == nullptr ? "" : std::string(home) + "/.cache/evsam";
}

}  // namespace

Status threads_of_environment(int* threads) {
  *threads = 0;
  const char* const text = variable("EVSAM_NUM_THREADS");
  if (text == nullptr) return {};
  int count = 0;
  if (!read_number(text, &count) || count < 0) {
    return Status::unavailable(
        expected_got("EVSAM_NUM_THREADS", "a number of threads, 1 or more, or 0 for all processors", text));
  }
  *threads = count;
  return {};
}

Status packed_cache_of_environment(PackedCacheEnvironment* environment) {
  *environment = {};
  if (const char* const text = variable("EVSAM_PACKED_CACHE"); text != nullptr) {
    environment->on = std::strcmp(text, "1") == 0;
    if (!environment->on && std::strcmp(text, "0") != 0) {
      return Status::unavailable(expected_got("EVSAM_PACKED_CACHE", "1 for on or 0 for off", text));
    }
  }
  if (const char* const text = variable("EVSAM_PACKED_CACHE_GIB"); text != nullptr) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 20;
    std::uint64_t gib = 0;
    if (!read_number(text, &gib) || gib < 1 || gib > kMost) {
      return Status::unavailable(
          expected_got("EVSAM_PACKED_CACHE_GIB", "a whole number of GiB, 1 to " + std::to_string(kMost), text));
    }
    environment->limit = gib << 30;
  }
  const std::string folder = cache_folder();
  if (!folder.empty()) environment->folder = folder + "/packed";
  return {};
}

}  // namespace evsam
