// The tile registers of AMX: eight of up to 16 rows of 64 bytes. Macros, because the intrinsics' tile numbers must be
// digits. With EVSAM_EMULATE_EXTENSION portable C does what the instructions do, for machines without them; it is slow.
#pragma once

#include <cstdint>

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

// What ldtilecfg reads.
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfiguration) == 64);

#if EVSAM_EMULATE_EXTENSION

struct TileRegisters {
  TileConfiguration configuration;
  std::uint8_t bytes[8][16][64];
};
thread_local TileRegisters emulated;

inline void configure_tiles(const TileConfiguration& configuration) {
  emulated.configuration = configuration;
  __builtin_memset(emulated.bytes, 0, sizeof(emulated.bytes));
}
inline void release_tiles() { configure_tiles({}); }
inline void zero_tile(int tile) { __builtin_memset(emulated.bytes[tile], 0, sizeof(emulated.bytes[tile])); }
inline void load_tile(int tile, const void* from, std::int64_t stride) {
  zero_tile(tile);
  for (int r = 0; r < emulated.configuration.rows[tile]; ++r) {
    __builtin_memcpy(emulated.bytes[tile][r], static_cast<const std::uint8_t*>(from) + r * stride,
                     emulated.configuration.row_bytes[tile]);
  }
}
inline void store_tile(int tile, void* to, std::int64_t stride) {
  for (int r = 0; r < emulated.configuration.rows[tile]; ++r) {
    __builtin_memcpy(static_cast<std::uint8_t*>(to) + r * stride, emulated.bytes[tile][r],
                     emulated.configuration.row_bytes[tile]);
  }
}

template <typename T>
T of_tile(const std::uint8_t* row, int index) {
  T value;
  __builtin_memcpy(&value, row + index * static_cast<int>(sizeof(T)), sizeof(T));
  return value;
}

// Calls sum(row, column) for every number of a tile of 32-bit numbers, and stores what it adds.
template <typename T, typename Sum>
void add_to_tile(int to, const Sum& sum) {
  for (int m = 0; m < emulated.configuration.rows[to]; ++m) {
    for (int n = 0; n < emulated.configuration.row_bytes[to] / 4; ++n) {
      const T result = of_tile<T>(emulated.bytes[to][m], n) + sum(m, n);
      __builtin_memcpy(emulated.bytes[to][m] + 4 * n, &result, sizeof(result));
    }
  }
}

// tdpbusd: unsigned bytes of a times signed bytes of b, in groups of four.
inline void dot_bytes(int to, int a, int b) {
  add_to_tile<std::int32_t>(to, [=](int m, int n) {
    std::int32_t sum = 0;
    for (int k = 0; k < emulated.configuration.row_bytes[a]; ++k) {
      sum += of_tile<std::uint8_t>(emulated.bytes[a][m], k) *
             of_tile<std::int8_t>(emulated.bytes[b][k / 4], 4 * n + k % 4);
    }
    return sum;
  });
}

// tdpbf16ps: even and odd products are summed by themselves, fused, then added; subnormal numbers count as zero.
inline void dot_bf16(int to, int a, int b) {
  const auto number = [](const std::uint8_t* row, int index) {
    std::uint32_t bits = of_tile<std::uint16_t>(row, index);
    if ((bits & 0x7f80U) == 0) bits &= 0x8000U;
    bits <<= 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  };
  add_to_tile<float>(to, [=](int m, int n) {
    float sums[2] = {};
    for (int k = 0; k < emulated.configuration.row_bytes[a] / 2; ++k) {
      sums[k % 2] =
          __builtin_fmaf(number(emulated.bytes[a][m], k), number(emulated.bytes[b][k / 2], 2 * n + k % 2), sums[k % 2]);
    }
    return sums[0] + sums[1];
  });
}

#define EVSAM_TILE_CONFIGURE(configuration) configure_tiles(configuration)
#define EVSAM_TILE_RELEASE() release_tiles()
#define EVSAM_TILE_ZERO(tile) zero_tile(tile)
#define EVSAM_TILE_LOAD(tile, from, stride) load_tile(tile, from, stride)
#define EVSAM_TILE_STORE(tile, to, stride) store_tile(tile, to, stride)
#define EVSAM_TILE_DOT_BYTES(to, a, b) dot_bytes(to, a, b)
#define EVSAM_TILE_DOT_BF16(to, a, b) dot_bf16(to, a, b)

#else

// GCC 12's intrinsic says that it reads eight bytes: the barrier keeps it from leaving out the others.
#define EVSAM_TILE_CONFIGURE(configuration)                  \
  __asm__ volatile("" : : "r"(&(configuration)) : "memory"); \
  _tile_loadconfig(&(configuration))
#define EVSAM_TILE_RELEASE() _tile_release()
#define EVSAM_TILE_ZERO(tile) _tile_zero(tile)
#define EVSAM_TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define EVSAM_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define EVSAM_TILE_DOT_BYTES(to, a, b) _tile_dpbusd(to, a, b)
#define EVSAM_TILE_DOT_BF16(to, a, b) _tile_dpbf16ps(to, a, b)

#endif

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
