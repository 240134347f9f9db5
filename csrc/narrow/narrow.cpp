#include "narrow/narrow.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "core/finite.h"
#include "core/float16.h"
#include "core/math.h"

// evsam_narrow.inc, written by CMake, has one line EVSAM_NARROW(extension, isa) per extension of this build.
#define EVSAM_NARROW(extension, isa)         \
  namespace evsam::extension {               \
  extern const narrow::Kernel narrow_kernel; \
  }
#include "evsam_narrow.inc"
#undef EVSAM_NARROW

namespace evsam::narrow {
namespace {

// What the machine needs beyond the instruction set.
bool on_this_machine(const char* extension) {
  [[maybe_unused]] const CpuFeatures& cpu = cpu_features();
  const auto is = [=](const char* name) { return std::strcmp(extension, name) == 0; };
#if EVSAM_EMULATE_AVX512
  return true;  // what is beyond AVX2 is emulated
#endif
  if (is("avx512_vnni")) return cpu.avx512vnni;
  if (is("avx512_bf16")) return cpu.avx512_bf16;
  if (is("avx_vnni")) return cpu.avx_vnni;
  if (is("amx_int8")) return cpu.amx_int8;
  if (is("amx_bf16")) return cpu.amx_bf16;
  if (is("avx512_fp16")) return cpu.avx512_fp16;
  if (is("neon_fp16")) return cpu.fp16;
  if (is("neon_bf16")) return cpu.bf16;
  if (is("neon_dot")) return cpu.dotprod;
  if (is("neon_i8mm")) return cpu.i8mm;
  return true;  // those of the base instruction sets
}

// Intel's cores begin a vdpbf16ps every other cycle, which is half as many products as by FMA in float32 (on
// Sapphire Rapids 44 G a second by `test_narrow perf`, 89 by the probe of FMA).
bool faster_than_float32(const char* extension) {
  return std::strcmp(extension, "avx512_bf16") != 0 || !cpu_features().intel;
}

struct KeepsMasks {
  const char* extension;
  bool sam;
  bool lite;
};

// README.md, "fast". tests/sdk/test_precisions.py measures what the machine can run, with nano's weights.
constexpr KeepsMasks kKeepsMasks[] = {
    {"avx2_int8", false, true}, {"avx_vnni", false, true},  {"avx512_vnni", false, true}, {"amx_int8", false, true},
    {"neon_dot", false, true},  {"neon_i8mm", false, true}, {"avx512_bf16", true, true},  {"amx_bf16", true, true},
    {"neon_bf16", true, true},  {"wasm_int8", false, true}, {"avx512_fp16", true, true},  {"neon_fp16", true, true},
};

struct Names {
  Status status;
  std::vector<std::string> allowed;  // empty: all
};

Names read_names() {
  Names names;
  const char* const text = std::getenv("EVSAM_NARROW");
  if (text == nullptr || *text == '\0') return names;
  const std::vector<Extension> all = extensions();
  std::string known;
  for (const Extension& each : all) {
    if (each.supported) known += (known.empty() ? "" : ", ") + std::string(each.kernel->name);
  }
  const std::string list = text;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string name = list.substr(begin, end - begin);
    const bool found = std::any_of(all.begin(), all.end(),
                                   [&](const Extension& each) { return each.supported && name == each.kernel->name; });
    if (!found) {
      names.status = Status::unavailable(
          expected_got("EVSAM_NARROW", "extensions of this machine and build (" + known + ")", text));
      return names;
    }
    names.allowed.push_back(name);
    begin = end + 1;
  }
  return names;
}

const Names& names_of_environment() {
  static const Names names = read_names();
  return names;
}

bool beside(Isa own, Isa isa) { return own == isa || (own == Isa::avx2 && isa == Isa::avx512); }

constexpr std::int64_t kLargestWeight = 127;

// Floats' bits without the sign, which are in the order of their magnitudes, infinity and NaN above all. Compilers make
// vector instructions of whole numbers' maxima, not of floats'.
std::int32_t magnitude_bits(float x) {
  std::int32_t bits = 0;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits & 0x7FFFFFFF;
}

float magnitude_of(std::int32_t bits) {
  float magnitude = 0.0F;
  std::memcpy(&magnitude, &bits, sizeof(magnitude));
  return magnitude;
}

// 0 where there are none; infinite or NaN where one is.
float largest_magnitude(const float* values, std::int64_t count) {
  std::int32_t most = 0;
  for (std::int64_t k = 0; k < count; ++k) most = std::max(most, magnitude_bits(values[k]));
  return magnitude_of(most);
}

// The largest magnitude of the sum of a pair of neighbouring channels. Where their signs differ it is below that of one
// of them, so this and largest_magnitude() together tell how far pairs' numbers of one sign go.
float largest_pair(const float* weight, std::int64_t parts, std::int64_t channels) {
  std::int32_t most = 0;
  for (std::int64_t i = 0; i < parts; ++i, weight += channels) {
    for (std::int64_t k = 0; k + 1 < channels; k += 2) most = std::max(most, magnitude_bits(weight[k] + weight[k + 1]));
  }
  return magnitude_of(most);
}

// Groups of neighbours, `stride` bytes from one to the next; the last may be shorter.
template <std::int64_t kGroupBytes>
void spread_groups(const std::uint8_t* from, std::int64_t bytes, std::int64_t stride, std::uint8_t* to) {
  for (; bytes >= kGroupBytes; bytes -= kGroupBytes, from += kGroupBytes, to += stride) {
    std::memcpy(to, from, kGroupBytes);
  }
  if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

void spread(const std::uint8_t* from, std::int64_t bytes, std::int64_t group, std::int64_t stride, std::uint8_t* to) {
  switch (group) {  // of a known size a copy is one instruction
    case 2: return spread_groups<2>(from, bytes, stride, to);
    case 4: return spread_groups<4>(from, bytes, stride, to);
    case 8: return spread_groups<8>(from, bytes, stride, to);
    default: break;
  }
  for (; bytes > 0; bytes -= group, from += group, to += stride) {
    std::memcpy(to, from, static_cast<std::size_t>(std::min(bytes, group)));
  }
}

bool scaled(const Kernel& kernel) { return kernel.precision != Precision::bf16; }

// One output channel's weights as the kernel reads them, `element` bytes each; limit: see quantize(). Returns their
// scale.
float narrow_weights(const Kernel& kernel, const float* weight, std::int64_t parts, std::int64_t channels,
                     std::int64_t limit, std::uint8_t* to) {
  if (kernel.precision == Precision::int8) {
    return quantize(weight, parts, channels, limit, reinterpret_cast<std::int8_t*>(to));
  }
  const std::int64_t count = parts * channels;
  std::vector<std::uint16_t> half(static_cast<std::size_t>(count));
  float scale = 1.0F;
  if (kernel.precision == Precision::fp16) {
    scale = scale_to_fp16(weight, count, half.data());
  } else {
    std::transform(weight, weight + count, half.begin(), bf16_of);
  }
  std::memcpy(to, half.data(), half.size() * sizeof(std::uint16_t));
  return scale;
}

}  // namespace

std::vector<Extension> extensions() {
  std::vector<Extension> list;
#define EVSAM_NARROW(extension, isa)                                                                                  \
  list.push_back({&evsam::extension::narrow_kernel, Isa::isa, isa_supported(Isa::isa) && on_this_machine(#extension), \
                  faster_than_float32(#extension)});
#include "evsam_narrow.inc"
#undef EVSAM_NARROW
  return list;
}

Status kernel_for(Precision precision, Isa isa, const Kernel** kernel) {
  *kernel = nullptr;
  const Names& names = names_of_environment();
  EVSAM_RETURN_IF_ERROR(names.status);
  for (const Extension& each : extensions()) {
    if (each.kernel->precision != precision || !each.supported || !beside(each.isa, isa)) continue;
    const std::vector<std::string>& allowed = names.allowed;
    const bool named = std::find(allowed.begin(), allowed.end(), each.kernel->name) != allowed.end();
    if (allowed.empty() ? each.faster : named) *kernel = each.kernel;
  }
  return {};
}

bool keeps_masks(const char* extension, bool lite) {
  return std::any_of(std::begin(kKeepsMasks), std::end(kKeepsMasks), [&](const KeepsMasks& row) {
    return std::strcmp(row.extension, extension) == 0 && (lite ? row.lite : row.sam);
  });
}

Status fast_precision(Isa isa, bool lite, Precision* precision) {
  *precision = Precision::fp32;
  for (const Precision each : {Precision::int8, Precision::bf16, Precision::fp16}) {
    const Kernel* kernel = nullptr;
    EVSAM_RETURN_IF_ERROR(kernel_for(each, isa, &kernel));
    if (kernel == nullptr || !keeps_masks(kernel->name, lite)) continue;
    *precision = each;
    break;
  }
  return {};
}

std::uint16_t bf16_of(float x) {
  if (std::isnan(x)) return 0x7fc0;
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

float float_of_bf16(std::uint16_t x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

float round_to(Precision precision, float x) {
  if (precision == Precision::bf16) return float_of_bf16(bf16_of(x));
  if (precision != Precision::fp16 || x == 0.0F || !std::isfinite(x)) return x;
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);
  return std::ldexp(float_of_fp16(fp16_of(fraction)), exponent);
}

float scale_to_fp16(const float* weight, std::int64_t count, std::uint16_t* half) {
  const float largest = largest_magnitude(weight, count);
  if (!(largest >= kSmallestRange && std::isfinite(largest))) {
    std::fill(half, half + count, std::uint16_t{0});
    return 0.0F;
  }
  const int exponent = std::ilogb(largest) - kHalfExponent;
  const float factor = std::ldexp(1.0F, -exponent);  // a power of two: products are exact
  std::transform(weight, weight + count, half, [=](float x) { return fp16_of(x * factor); });
  return std::ldexp(1.0F, exponent);
}

float quantize(const float* weight, std::int64_t parts, std::int64_t channels, std::int64_t limit, std::int8_t* q) {
  const std::int64_t count = parts * channels;
  float largest = largest_magnitude(weight, count);
  if (limit < kLargestWeight) {
    // Two numbers that come to twice the limit exactly do not exceed it when they are rounded: of two halves only one
    // goes up to an even number. 2^-21 is more than the four roundings of float32 on the way there.
    const float share = static_cast<float>(kLargestWeight) / static_cast<float>(2 * limit) * (1.0F + 0x1p-21F);
    largest = std::max(largest, share * largest_pair(weight, parts, channels));
  }
  if (!(largest >= kSmallestRange && std::isfinite(largest))) {
    std::fill(q, q + count, std::int8_t{0});
    return 0.0F;
  }
  // Beside this number floats are whole numbers, so that a sum is rounded, halves to even, and its lowest byte is the
  // result. Compilers make vector instructions of it, and none of std::lrintf.
  constexpr float kWhole = 0x1.8p23F;
  const float factor = static_cast<float>(kLargestWeight) / largest;
  for (std::int64_t k = 0; k < count; ++k) {
    const float sum = weight[k] * factor + kWhole;
    std::int32_t bits = 0;
    std::memcpy(&bits, &sum, sizeof(bits));
    q[k] = static_cast<std::int8_t>(bits);
  }
  return largest / static_cast<float>(kLargestWeight);
}

double rounding_error(const Kernel& kernel, const float* weight, std::int64_t out_channels, std::int64_t count,
                      std::int64_t stride) {
  constexpr int kSums = 4;  // side by side, since each waits for the number before
  std::vector<std::int8_t> q(static_cast<std::size_t>(count));
  std::vector<float> rounded(static_cast<std::size_t>(divide_up(count, kSums) * kSums));
  double squared[kSums] = {};
  double squared_error[kSums] = {};
  for (std::int64_t c = 0; c < out_channels; ++c, weight += stride == 0 ? count : stride) {
    if (kernel.precision == Precision::int8) {
      const float scale = quantize(weight, 1, count, kernel.weight_limit, q.data());
      std::transform(q.begin(), q.end(), rounded.begin(), [=](std::int8_t x) { return scale * static_cast<float>(x); });
    } else {
      std::transform(weight, weight + count, rounded.begin(), [&](float x) { return round_to(kernel.precision, x); });
    }
    const auto add = [&](std::int64_t k, int sum) {
      const double error = static_cast<double>(weight[k]) - static_cast<double>(rounded[static_cast<std::size_t>(k)]);
      squared[sum] += static_cast<double>(weight[k]) * static_cast<double>(weight[k]);
      squared_error[sum] += error * error;
    };
    std::int64_t k = 0;
    for (; k + kSums <= count; k += kSums) {
      for (int sum = 0; sum < kSums; ++sum) add(k + sum, sum);
    }
    for (int sum = 0; k < count; ++k, ++sum) add(k, sum);
  }
  const double all = (squared[0] + squared[1]) + (squared[2] + squared[3]);
  const double error = (squared_error[0] + squared_error[1]) + (squared_error[2] + squared_error[3]);
  if (!std::isfinite(all)) return std::nan("");
  return all > 0.0 ? std::sqrt(error / all) : 0.0;
}

bool keeps_weights(const Kernel& kernel, const float* weight, std::int64_t rows, std::int64_t count,
                   std::int64_t stride) {
  if (kernel.precision == Precision::int8) {
    return rounding_error(kernel, weight, rows, count, stride) <= kLargestError;
  }
  bool finite = true;
  for (std::int64_t r = 0; r < rows; ++r, weight += stride == 0 ? count : stride) {
    finite = finite && all_finite(weight, static_cast<std::size_t>(count));
  }
  return finite;
}

void pack(const Kernel& kernel, const float* weight, const float* bias, std::int64_t out_channels, std::int64_t parts,
          std::int64_t channels, Weights* packed) {
  const std::int64_t padded = divide_up(out_channels, kernel.panel) * kernel.panel;
  const std::int64_t depth = padded_depth(kernel, channels);
  packed->kernel = &kernel;
  packed->parts = parts;
  packed->depth = depth;
  packed->out_channels = out_channels;
  packed->values = AlignedBuffer<std::uint8_t>(static_cast<std::size_t>(padded * parts * depth * kernel.element));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  if (bias != nullptr) std::copy_n(bias, out_channels, packed->bias.data());
  if (scaled(kernel)) {
    packed->scale = AlignedBuffer<float>(static_cast<std::size_t>(padded));
    packed->offset = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  }
  const std::int64_t element = kernel.element;
  std::vector<std::uint8_t> row(static_cast<std::size_t>(parts * channels * element));
  for (std::int64_t c = 0; c < out_channels; ++c) {
    const float scale =
        narrow_weights(kernel, weight + c * parts * channels, parts, channels, kernel.weight_limit, row.data());
    if (scaled(kernel)) packed->scale[static_cast<std::size_t>(c)] = scale;
    if (kernel.precision == Precision::int8) {
      std::int64_t sum = 0;
      for (const std::uint8_t value : row) sum += static_cast<std::int8_t>(value);
      packed->offset[static_cast<std::size_t>(c)] = static_cast<float>(-sum);
    }
    const std::int64_t in_panel = c % kernel.panel;
    std::uint8_t* const panel = packed->values.data() + (c - in_panel) * parts * depth * element;
    for (std::int64_t i = 0; i < parts; ++i) {
      std::uint8_t* const to = panel + (i * depth * kernel.panel + in_panel * kernel.group) * element;
      spread(row.data() + i * channels * element, channels * element, kernel.group * element,
             kernel.panel * kernel.group * element, to);
    }
  }
}

void fields(PackedArchive& archive, Weights& packed) {
  archive.kernel(packed.kernel, archive.kernels().narrow);
  archive.values(packed.parts, packed.depth, packed.out_channels);
  archive.buffer(packed.values);
  archive.buffer(packed.scale);
  archive.buffer(packed.offset);
  archive.buffer(packed.bias);
}

std::int64_t padded_depth(const Kernel& kernel, std::int64_t channels) {
  return divide_up(channels, kernel.depth) * kernel.depth;
}

std::int64_t column_bytes(const Kernel& kernel, std::int64_t count, std::int64_t depth) {
  const std::int64_t padded = divide_up(count, kernel.panel) * kernel.panel;
  return padded * (3 * static_cast<std::int64_t>(sizeof(float)) + depth * kernel.element);
}

void pack_rows(const Kernel& kernel, const float* weight, std::int64_t rows, std::int64_t channels, std::int64_t stride,
               RowWeights* packed) {
  // Whole numbers of a row, less kernel.lowest, lie around the middle of a byte.
  constexpr std::int64_t kMiddle = 128;
  packed->kernel = &kernel;
  packed->depth = padded_depth(kernel, channels);
  const std::int64_t bytes = packed->depth * kernel.element;
  packed->values = AlignedBuffer<std::uint8_t>(static_cast<std::size_t>(rows * bytes));
  if (scaled(kernel)) {
    packed->scale = AlignedBuffer<float>(static_cast<std::size_t>(rows));
    packed->zero = AlignedBuffer<float>(static_cast<std::size_t>(rows));
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    std::uint8_t* const to = packed->values.data() + r * bytes;
    const float scale = narrow_weights(kernel, weight + r * stride, 1, channels, kLargestWeight, to);
    if (scaled(kernel)) packed->scale[static_cast<std::size_t>(r)] = scale;
    if (kernel.precision != Precision::int8) continue;
    const std::int64_t zero = kMiddle + kernel.lowest;
    packed->zero[static_cast<std::size_t>(r)] = static_cast<float>(zero);
    for (std::int64_t k = 0; k < channels; ++k) {
      to[k] = static_cast<std::uint8_t>(static_cast<std::int8_t>(to[k]) + zero);
    }
  }
}

Rows rows_of(const Weights& packed, std::int64_t channel, std::int64_t channels) {
  Rows rows = {};
  rows.count = static_cast<int>(packed.parts);
  rows.depth = packed.depth;
  rows.weights = packed.values.data() + channel * packed.parts * packed.depth * packed.kernel->element;
  if (scaled(*packed.kernel)) {
    rows.weight_scale = packed.scale.data() + channel;
    rows.offset = packed.offset.data() + channel;
  }
  rows.bias = packed.bias.data() + channel;
  rows.out_channels = channels;
  return rows;
}

}  // namespace evsam::narrow
