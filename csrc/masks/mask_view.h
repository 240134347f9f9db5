// A mask as the functions of this folder take it: one byte per pixel, rows one after the other; any byte but 0 is
// inside.
#pragma once

#include <cstdint>
#include <cstring>

namespace evsam::masks {

struct MaskView {
  const std::uint8_t* pixels = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;

  const std::uint8_t* row(std::int64_t y) const { return pixels + y * width; }
};

// Pixels along the photo's axes: columns [x0, x1) and rows [y0, y1).
struct Box {
  std::int64_t x0 = 0;
  std::int64_t y0 = 0;
  std::int64_t x1 = 0;
  std::int64_t y1 = 0;
};

// The first index from `from` on whose byte is set, or is not; `end` if there is none. Eight bytes a step: masks are
// long runs.
inline std::int64_t next_set(const std::uint8_t* bytes, std::int64_t from, std::int64_t end) {
  for (std::uint64_t word; from + 8 <= end; from += 8) {
    std::memcpy(&word, bytes + from, 8);
    if (word != 0) break;
  }
  while (from < end && bytes[from] == 0) ++from;
  return from;
}

inline std::int64_t next_unset(const std::uint8_t* bytes, std::int64_t from, std::int64_t end) {
  constexpr std::uint64_t kAllOne = 0x0101010101010101;  // what NumPy's True is; other bytes take the loop below
  for (std::uint64_t word; from + 8 <= end; from += 8) {
    std::memcpy(&word, bytes + from, 8);
    if (word != kAllOne) break;
  }
  while (from < end && bytes[from] != 0) ++from;
  return from;
}

// Calls f(x0, x1) for each run of set bytes in [begin, end).
template <typename F>
void for_each_run(const std::uint8_t* bytes, std::int64_t begin, std::int64_t end, F&& f) {
  for (std::int64_t x0 = next_set(bytes, begin, end); x0 < end;) {
    const std::int64_t x1 = next_unset(bytes, x0, end);
    f(x0, x1);
    x0 = next_set(bytes, x1, end);
  }
}

}  // namespace evsam::masks
