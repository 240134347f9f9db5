// A test harness of one page: CHECK counts failures and goes on, test_result() is main's return value.
#pragma once

#include <cstdio>
#include <string>

namespace evsam::test {

inline int failures = 0;
inline bool quiet = false;  // while failures are expected

inline void report(bool passed, const char* file, int line, const std::string& what) {
  if (passed) return;
  ++failures;
  if (!quiet) std::fprintf(stderr, "%s:%d: FAILED: %s\n", file, line, what.c_str());
}

inline int test_result() {
  if (failures > 0) std::fprintf(stderr, "%d checks failed\n", failures);
  return failures > 0 ? 1 : 0;
}

}  // namespace evsam::test

#define CHECK(condition) ::evsam::test::report((condition), __FILE__, __LINE__, #condition)
#define CHECK_MSG(condition, message) ::evsam::test::report((condition), __FILE__, __LINE__, (message))
