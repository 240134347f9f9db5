// Products of narrow numbers: every extension that this machine has against float64, with the same roundings of both
// operands and of sums in float16. With the argument "forced": what EVSAM_NARROW of the
// environment does; "extensions": also whether the processor has those of ARM that are named. With "perf": how fast
// they are.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "core/activation.h"
#include "core/float16.h"
#include "narrow/narrow.h"
#include "test_data.h"

// evsam_emulated.inc, written by CMake, has one line EVSAM_NARROW(extension, isa) per extension that is also here on
// emulated instructions.
#define EVSAM_NARROW(extension, isa)         \
  namespace evsam::extension {               \
  extern const narrow::Kernel narrow_kernel; \
  }
#include "evsam_emulated.inc"
#undef EVSAM_NARROW

namespace {

using namespace evsam;
using namespace evsam::test;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::vector<const narrow::Kernel*> supported_kernels() {
  std::vector<const narrow::Kernel*> kernels;
  for (const narrow::Extension& each : narrow::extensions()) {
    if (each.supported) kernels.push_back(each.kernel);
  }
  return kernels;
}

// Those, and what is emulated.
std::vector<const narrow::Kernel*> tested_kernels() {
  std::vector<const narrow::Kernel*> kernels = supported_kernels();
#define EVSAM_NARROW(extension, isa) \
  if (isa_supported(Isa::isa)) kernels.push_back(&extension::narrow_kernel);
#include "evsam_emulated.inc"
#undef EVSAM_NARROW
  return kernels;
}

// The numbers that a kernel reads, for sums that scales follow.
struct Rounded {
  std::vector<double> stored;  // int8: q - zero
  std::vector<double> q;       // int8: q; else the same
  std::vector<double> scale;   // of each row
  std::vector<double> zero;
};

double value_of_fp16(float x) { return double(float_of_fp16(fp16_of(x))); }

// Rows of activations, each with its own range or all with one: the definition of narrow/kernel.h, once more.
Rounded round_pixels(Precision precision, const std::vector<float>& x, std::int64_t channels, bool one_range) {
  Rounded rounded;
  const std::int64_t pixels = static_cast<std::int64_t>(x.size()) / channels;
  for (std::int64_t p = 0; p < pixels; ++p) {
    const float* const row = x.data() + p * channels;
    const float* const begin = one_range ? x.data() : row;
    const float* const end = one_range ? x.data() + x.size() : row + channels;
    const float low = std::min(*std::min_element(begin, end), 0.0F);
    const float high = std::max(*std::max_element(begin, end), 0.0F);
    double scale = 1.0;
    long zero = 0;
    if (precision == Precision::int8) {
      const bool nothing = high - low < narrow::kSmallestRange;
      const float factor = nothing ? 0.0F : 255.0F / (high - low);
      zero = std::lrintf(-low * factor);
      for (std::int64_t k = 0; k < channels; ++k) {
        const long q = std::clamp<long>(std::lrintf(row[k] * factor) + zero, 0, 255);
        rounded.q.push_back(static_cast<double>(q));
        rounded.stored.push_back(static_cast<double>(q - zero));
      }
      scale = nothing ? 0.0 : static_cast<double>((high - low) / 255.0F);
    } else {
      if (precision == Precision::fp16) {
        const float largest = std::max(high, -low);
        const int exponent = std::ilogb(largest) - narrow::kHalfExponent;
        scale = largest < narrow::kSmallestRange ? 0.0 : std::ldexp(1.0, exponent);
      }
      for (std::int64_t k = 0; k < channels; ++k) {
        rounded.stored.push_back(precision == Precision::bf16 ? double(narrow::float_of_bf16(narrow::bf16_of(row[k])))
                                 : scale == 0.0 ? 0.0
                                                : value_of_fp16(static_cast<float>(double(row[k]) / scale)));
        rounded.q.push_back(rounded.stored.back());
      }
    }
    rounded.scale.push_back(scale);
    rounded.zero.push_back(static_cast<double>(zero));
  }
  return rounded;
}

// Rows of `count` numbers; `quantize` rounds one to whole numbers and returns its scale.
template <typename Quantize>
Rounded round_rows(const narrow::Kernel& kernel, const std::vector<float>& weight, std::int64_t count,
                   const Quantize& quantize) {
  Rounded rounded;
  std::vector<std::int8_t> q(size(count));
  std::vector<std::uint16_t> half(size(count));
  for (std::size_t c = 0; c < weight.size(); c += q.size()) {
    double scale = 1.0;
    if (kernel.precision == Precision::int8) {
      scale = static_cast<double>(quantize(weight.data() + c, q.data()));
    } else if (kernel.precision == Precision::fp16) {
      scale = static_cast<double>(narrow::scale_to_fp16(weight.data() + c, count, half.data()));
    }
    for (std::size_t k = 0; k < q.size(); ++k) {
      rounded.stored.push_back(kernel.precision == Precision::int8 ? static_cast<double>(q[k])
                               : kernel.precision == Precision::fp16
                                   ? double(float_of_fp16(half[k]))
                                   : double(narrow::float_of_bf16(narrow::bf16_of(weight[c + k]))));
    }
    rounded.scale.push_back(scale);
  }
  return rounded;
}

Rounded round_weights(const narrow::Kernel& kernel, const std::vector<float>& weight, std::int64_t parts,
                      std::int64_t channels, std::int64_t limit) {
  return round_rows(kernel, weight, parts * channels,
                    [&](const float* row, std::int8_t* q) { return narrow::quantize(row, parts, channels, limit, q); });
}

Rounded round_columns(const narrow::Kernel& kernel, const std::vector<float>& columns, std::int64_t channels) {
  return round_rows(kernel, columns, channels, [&](const float* column, std::int8_t* q) {
    const auto limit = static_cast<float>(kernel.weight_limit);
    float largest = 0.0F;
    for (std::int64_t k = 0; k < channels; ++k) largest = std::max(largest, std::abs(column[k]));
    for (std::int64_t k = 0; k < channels; ++k) {
      q[k] = largest == 0.0F ? std::int8_t{0} : static_cast<std::int8_t>(std::lrintf(column[k] * (limit / largest)));
    }
    return largest / limit;
  });
}

// To the nearest float16, halves to even.
double nearest_fp16(double x) {
  if (x == 0.0) return x;
  const double step = std::ldexp(1.0, std::max(std::ilogb(x), -14) - 10);
  return std::nearbyint(x / step) * step;
}

// A sum of products x[k] w[k], of `parts` times `channels` numbers. Exact, but for kernels of fp16 that add in float16:
// there in their order and with their roundings, kHalfTerms products at a time for each number of a group.
double sum_of_products(const narrow::Kernel& kernel, const double* x, const double* w, std::int64_t parts,
                       std::int64_t channels) {
  if (kernel.precision != Precision::fp16 || std::strcmp(kernel.name, "scalar_fp16") == 0) {
    return std::inner_product(x, x + parts * channels, w, 0.0);
  }
  std::vector<double> half(size(kernel.group));
  double sum = 0.0;
  const auto widen = [&] {
    sum = std::accumulate(half.begin(), half.end(), sum);
    std::fill(half.begin(), half.end(), 0.0);
  };
  const std::int64_t terms = narrow::padded_depth(kernel, channels) / kernel.group;  // padding counts as well
  for (std::int64_t term = 0; term < parts * terms; ++term) {
    for (std::int64_t i = 0; i < kernel.group; ++i) {
      const std::int64_t channel = term % terms * kernel.group + i;
      const std::int64_t k = term / terms * channels + channel;
      if (channel < channels) half[size(i)] = nearest_fp16(x[k] * w[k] + half[size(i)]);
    }
    if ((term + 1) % narrow::kHalfTerms == 0) widen();
  }
  widen();
  return sum;
}

struct Shape {
  std::int64_t pixels;
  std::int64_t channels;  // of each part
  std::int64_t out_channels;
  std::int64_t parts;
  Activation activation;
  bool added;
  bool one_range;
};

std::string text(const narrow::Kernel& kernel, const Shape& shape) {
  return std::string(kernel.name) + ": " + std::to_string(shape.pixels) + " x " + std::to_string(shape.parts) + " x " +
         std::to_string(shape.channels) + " x " + std::to_string(shape.out_channels);
}

// Converted pixels, with the memory that they lie in: `gap` bytes of 255 behind each.
struct Operand {
  std::vector<std::uint8_t> bytes;
  std::vector<float> scale;
  std::vector<float> zero;
  std::int64_t stride = 0;
};

Operand convert(const narrow::Kernel& kernel, const std::vector<float>& x, std::int64_t channels, std::int64_t depth,
                bool one_range, std::int64_t gap) {
  const std::int64_t pixels = static_cast<std::int64_t>(x.size()) / channels;
  Operand operand;
  operand.stride = depth * kernel.element + gap * kernel.element;
  operand.bytes.assign(size(pixels * operand.stride), 255);
  operand.scale.assign(size(one_range ? 1 : pixels), -1.0F);
  operand.zero.assign(operand.scale.size(), -1.0F);
  narrow::Range range = {0.0F, 0.0F};
  if (one_range && kernel.widen != nullptr) {
    // In two steps: a range only grows.
    kernel.widen(x.data(), channels, pixels / 2, channels, &range);
    kernel.widen(x.data() + pixels / 2 * channels, channels, pixels - pixels / 2, channels, &range);
  }
  kernel.convert({x.data(), channels, operand.bytes.data(), operand.stride, pixels, channels, depth,
                  one_range ? &range : nullptr, operand.scale.data(), operand.zero.data()});
  return operand;
}

// Parts are taps of a filter that moves along the pixels: part i of pixel p is input pixel p + i.
void check_products(const narrow::Kernel& kernel, const Shape& shape) {
  const std::int64_t inputs = shape.pixels + shape.parts - 1;
  const std::int64_t depth = shape.parts * shape.channels;
  const std::vector<float> x = random_floats(inputs * shape.channels, 1, 1.0, 0.3);
  const std::vector<float> weight = random_floats(shape.out_channels * depth, 2, 1.0 / std::sqrt(double(depth)));
  const std::vector<float> bias = random_floats(shape.out_channels, 3);
  const std::vector<float> added = random_floats(shape.pixels * shape.out_channels, 4);

  narrow::Weights packed;
  narrow::pack(kernel, weight.data(), bias.data(), shape.out_channels, shape.parts, shape.channels, &packed);
  const Operand operand = convert(kernel, x, shape.channels, packed.depth, shape.one_range, 3);
  narrow::Rows rows = narrow::rows_of(packed, 0, shape.out_channels);
  for (std::int64_t i = 0; i < shape.parts; ++i) {
    rows.parts[i] = {operand.bytes.data() + i * operand.stride, operand.stride};
  }
  const std::int64_t y_stride = shape.out_channels + 5;
  std::vector<float> y(size(shape.pixels * y_stride), 77.0F);
  rows.scale = operand.scale.data();
  rows.zero = operand.zero.data();
  rows.scale_stride = shape.one_range ? 0 : 1;
  rows.added = shape.added ? added.data() : nullptr;
  rows.added_stride = shape.out_channels;
  rows.y = y.data();
  rows.y_stride = y_stride;
  rows.pixels = shape.pixels;
  rows.activation = shape.activation;
  kernel.run(rows);

  const Rounded rx = round_pixels(kernel.precision, x, shape.channels, shape.one_range);
  const Rounded rw = round_weights(kernel, weight, shape.parts, shape.channels, kernel.weight_limit);
  const bool int8 = kernel.precision == Precision::int8;
  for (std::int64_t p = 0; p < shape.pixels; ++p) {
    for (std::int64_t c = 0; c < shape.out_channels; ++c) {
      const double sum = sum_of_products(kernel, rx.stored.data() + p * shape.channels, rw.stored.data() + c * depth,
                                         shape.parts, shape.channels);
      double sizes = 0.0;
      for (std::int64_t k = 0; k < depth; ++k) {
        const double w = rw.stored[size(c * depth + k)];
        sizes += std::abs(rx.q[size(p * shape.channels + k)] * w);
        if (int8) sizes += std::abs(rx.zero[size(p)] * w);
      }
      const double scale = rx.scale[size(p)] * rw.scale[size(c)];
      const double start =
          double(bias[size(c)]) + (shape.added ? double(added[size(p * shape.out_channels + c)]) : 0.0);
      const double right = activate_float64(shape.activation, scale * sum + start);
      // int8: exact sums, then the sum, its correction, two scales, the addition. Others: an addition per product,
      // whose errors add up like steps of a random walk.
      const double roundings = int8 ? 8.0 : 4.0 + 2.0 * std::sqrt(double(depth));
      const double limit = std::ldexp(roundings * (scale * sizes + std::abs(start) + 1.0), -24) +
                           (shape.activation >= Activation::gelu_tanh ? 4e-7 * std::max(1.0, std::abs(right)) : 0.0);
      const double got = double(y[size(p * y_stride + c)]);
      CHECK_MSG(std::abs(got - right) <= limit, text(kernel, shape) + ", at " + std::to_string(p) + ", " +
                                                    std::to_string(c) + ": expected " + std::to_string(right) +
                                                    ", got " + std::to_string(got));
    }
    for (std::int64_t c = shape.out_channels; c < y_stride; ++c) CHECK(y[size(p * y_stride + c)] == 77.0F);
  }
}

void check_conversion(const narrow::Kernel& kernel) {
  for (const std::int64_t channels : {1, 3, 4, 15, 16, 17, 31, 33, 64, 70}) {
    for (const bool one_range : {false, true}) {
      const std::int64_t depth = (channels + kernel.depth - 1) / kernel.depth * kernel.depth + 2 * kernel.depth;
      std::vector<float> x = random_floats(7 * channels, 5);
      for (std::int64_t k = 0; k < channels; ++k) {
        x[size(k)] = std::abs(x[size(k)]);                         // nothing is negative
        x[size(channels + k)] = -std::abs(x[size(channels + k)]);  // nothing is positive
        x[size(2 * channels + k)] = -1e-39F;
        x[size(3 * channels + k)] = 3.0F;
      }
      const Operand got = convert(kernel, x, channels, depth, one_range, 1);
      const Rounded right = round_pixels(kernel.precision, x, channels, one_range);
      for (std::int64_t p = 0; p < 7; ++p) {
        const std::uint8_t* row = got.bytes.data() + p * got.stride;
        double zero = 0.0;
        if (kernel.precision != Precision::bf16) {
          const std::size_t at = one_range ? 0 : size(p);
          CHECK(double(got.scale[at]) == right.scale[size(p)]);
          zero = double(got.zero[at]);
        }
        for (std::int64_t k = 0; k < depth; ++k) {
          double number = 0.0;
          if (kernel.element == 2) {
            std::uint16_t bits;
            std::memcpy(&bits, row + 2 * k, 2);
            number = double(kernel.precision == Precision::fp16 ? float_of_fp16(bits) : narrow::float_of_bf16(bits));
          } else {
            const double stored = kernel.lowest < 0 ? double(static_cast<std::int8_t>(row[k])) : double(row[k]);
            number = stored - (k < channels ? zero : 0.0);
          }
          const double expected = k < channels ? right.stored[size(p * channels + k)] : 0.0;
          CHECK_MSG(number == expected, std::string(kernel.name) + ", channel " + std::to_string(k) + " of " +
                                            std::to_string(channels) + ": expected " + std::to_string(expected) +
                                            ", got " + std::to_string(number));
        }
        for (std::int64_t i = depth * kernel.element; i < got.stride; ++i) CHECK(row[i] == 255);
      }
    }
  }
}

// 1x1 products of contiguous pixels without bias, each with its own range.
std::vector<float> multiply(const narrow::Kernel& kernel, const std::vector<float>& x, std::int64_t channels,
                            const std::vector<float>& weight, Activation activation = Activation::none) {
  const auto pixels = static_cast<std::int64_t>(x.size()) / channels;
  const auto out_channels = static_cast<std::int64_t>(weight.size()) / channels;
  narrow::Weights packed;
  narrow::pack(kernel, weight.data(), nullptr, out_channels, 1, channels, &packed);
  const Operand operand = convert(kernel, x, channels, packed.depth, false, 0);
  std::vector<float> y(size(pixels * out_channels));
  narrow::Rows rows = narrow::rows_of(packed, 0, out_channels);
  rows.parts[0] = {operand.bytes.data(), operand.stride};
  rows.scale = operand.scale.data();
  rows.zero = operand.zero.data();
  rows.scale_stride = 1;
  rows.y = y.data();
  rows.y_stride = out_channels;
  rows.pixels = pixels;
  rows.activation = activation;
  kernel.run(rows);
  return y;
}

// A pixel with a NaN or an infinity is NaN; its neighbours are not.
void check_special(const narrow::Kernel& kernel) {
  constexpr std::int64_t kChannels = 37;
  constexpr std::int64_t kOut = 20;
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    std::vector<float> x = random_floats(9 * kChannels, 1);
    x[2 * kChannels + 3] = kNan;
    x[4 * kChannels + 36] = -kNan;
    std::uint32_t bits = 0x7f800001U;  // whose highest bits are those of an infinity
    std::memcpy(&x[5 * kChannels + 4], &bits, sizeof(bits));
    bits = 0xffffffffU;
    std::memcpy(&x[6 * kChannels + 4], &bits, sizeof(bits));
    const std::vector<float> weight = random_floats(kOut * kChannels, 2);
    if (kernel.precision != Precision::bf16) {
      x[7 * kChannels] = std::numeric_limits<float>::infinity();
    }
    if (kernel.precision == Precision::int8) {
      x[8 * kChannels] = 3e38F;  // the range overflows
      x[8 * kChannels + 1] = -3e38F;
    }
    const std::vector<float> y = multiply(kernel, x, kChannels, weight, activation);
    for (std::int64_t i = 0; i < 9 * kOut; ++i) {
      const std::int64_t p = i / kOut;
      const bool spoiled = p == 2 || p == 4 || p == 5 || p == 6 || (kernel.precision != Precision::bf16 && p == 7) ||
                           (kernel.precision == Precision::int8 && p == 8);
      CHECK_MSG(std::isnan(y[size(i)]) == spoiled, std::string(kernel.name) + ", pixel " + std::to_string(p));
    }
  }
}

// Weights as rows, pixels as columns: the products of ops whose cells lie in lanes.
void check_columns(const narrow::Kernel& kernel) {
  struct {
    std::int64_t rows, channels, columns;
  } const shapes[] = {{1, 1, 16}, {kernel.row_tile, 64, 32}, {kernel.row_tile + 1, 67, 48}, {23, 256, 64}};
  for (const auto& [rows, channels, columns] : shapes) {
    const std::vector<float> weight = random_floats(rows * channels, 1);
    std::vector<float> of_columns = random_floats(columns * channels, 2, 1.0, 0.3);
    for (std::int64_t k = 0; k < channels; ++k) {
      of_columns[size(3 * channels + k)] = 0.0F;
      of_columns[size(5 * channels + k)] = -1e-39F;
    }
    const std::int64_t x_stride = columns + 3;
    std::vector<float> x(size(channels * x_stride), kNan);
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t k = 0; k < channels; ++k) x[size(k * x_stride + c)] = of_columns[size(c * channels + k)];
    }
    const std::int64_t spoiled = columns - 1;
    x[size((channels - 1) * x_stride + spoiled)] = kNan;

    narrow::RowWeights packed;
    narrow::pack_rows(kernel, weight.data(), rows, channels, channels, &packed);
    const std::int64_t padded = (columns + kernel.panel - 1) / kernel.panel * kernel.panel;
    std::vector<std::uint8_t> values(size(padded * packed.depth * kernel.element), 255);
    std::vector<float> scale(size(padded)), offset(size(padded)), zeros(size(padded));
    kernel.convert_columns(
        {x.data(), x_stride, values.data(), columns, channels, packed.depth, scale.data(), offset.data()});
    const narrow::Matrix matrix = packed.from_row(0);
    const std::int64_t y_stride = columns + 5;
    std::vector<float> y(size(rows * y_stride), 77.0F);
    narrow::Rows products = {};
    products.parts[0] = {matrix.rows, matrix.stride};
    products.count = 1;
    products.depth = matrix.depth;
    products.scale = matrix.scale;
    products.zero = matrix.zero;
    products.scale_stride = 1;
    products.weights = values.data();
    products.weight_scale = scale.data();
    products.offset = offset.data();
    products.bias = zeros.data();
    products.y = y.data();
    products.y_stride = y_stride;
    products.pixels = rows;
    products.out_channels = columns;
    kernel.run(products);

    const Rounded rw = round_weights(kernel, weight, 1, channels, 127);
    const Rounded rx = round_columns(kernel, of_columns, channels);
    const bool int8 = kernel.precision == Precision::int8;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < y_stride; ++c) {
        const double got = double(y[size(r * y_stride + c)]);
        const std::string where = std::string(kernel.name) + ": row " + std::to_string(r) + ", column " +
                                  std::to_string(c) + " of " + std::to_string(columns) + " x " +
                                  std::to_string(channels) + ": got " + std::to_string(got);
        if (c >= columns) {
          CHECK_MSG(got == 77.0, where);
          continue;
        }
        if (c == spoiled) {
          CHECK_MSG(std::isnan(got), where);
          continue;
        }
        const double* const w = rw.stored.data() + r * channels;
        const double* const column = rx.stored.data() + c * channels;
        const double sum = sum_of_products(kernel, w, column, 1, channels);
        double sizes = 0.0;
        for (std::int64_t k = 0; k < channels; ++k) {
          sizes += std::abs(w[k] * column[k]) + (int8 ? 128.0 * std::abs(column[k]) : 0.0);
        }
        const double scale_of_both = rw.scale[size(r)] * rx.scale[size(c)];
        const double roundings = int8 ? 8.0 : 4.0 + 2.0 * std::sqrt(double(channels));
        const double limit = std::ldexp(roundings * (scale_of_both * sizes + 1.0), -24);
        CHECK_MSG(std::abs(got - scale_of_both * sum) <= limit,
                  where + ", expected " + std::to_string(scale_of_both * sum));
      }
    }
  }
}

// The largest products of one sign: nothing saturates on the way.
void check_largest(const narrow::Kernel& kernel) {
  constexpr std::int64_t kChannels = 1024;
  for (const float sign : {1.0F, -1.0F}) {
    const std::vector<float> weight(kChannels, sign);
    const std::vector<float> x(kChannels, 3.0F);
    const float y = multiply(kernel, x, kChannels, weight)[0];
    CHECK_MSG(std::abs(y - sign * 3.0F * kChannels) < 3e-3F, std::string(kernel.name) + ": " + std::to_string(y));
  }
}

// Activations of any size give what they would give at an ordinary one: a power of two more is a power of two more of
// the result, up to the rounding of smaller numbers to float32's subnormal ones.
void check_magnitudes(const narrow::Kernel& kernel) {
  constexpr std::int64_t kChannels = 300;
  constexpr std::int64_t kOut = 11;
  const std::vector<float> weight = random_floats(kOut * kChannels, 2);
  const auto products = [&](float factor) {
    std::vector<float> x = random_floats(2 * kChannels, 1, 1.0, 2.0);
    for (float& value : x) value *= factor;
    return multiply(kernel, x, kChannels, weight);
  };
  const std::vector<float> ordinary = products(1.0F);
  for (const float factor : {0x1p17F, 0x1p100F, 0x1p-60F}) {
    const std::vector<float> y = products(factor);
    for (std::size_t i = 0; i < y.size(); ++i) {
      CHECK_MSG(std::abs(y[i] / factor - ordinary[i]) <= 1e-5F * std::abs(ordinary[i]),
                std::string(kernel.name) + ", " + std::to_string(i));
    }
  }
}

void test_kernels() {
  for (const narrow::Kernel* kernel : tested_kernels()) {
    const std::int64_t tile = kernel->row_tile;
    const std::int64_t panel = kernel->panel;
    const Activation none = Activation::none;
    for (const Shape& shape :
         {Shape{1, 1, 1, 1, none, false, false}, Shape{tile, 64, panel, 1, none, false, false},
          Shape{tile - 1, 67, panel - 1, 1, none, true, false},
          Shape{tile + 1, 33, panel + 1, 1, Activation::relu, false, false},
          Shape{2 * tile + 5, 300, 2 * panel + 3, 1, Activation::gelu_tanh, false, false},
          Shape{23, 1100, 5, 1, none, true, false}, Shape{31, 13, panel / 2, 3, Activation::relu6, false, true},
          Shape{3 * tile + 2, 34, panel + panel / 2, 9, Activation::gelu, false, true}}) {
      check_products(*kernel, shape);
    }
    for (std::int64_t pixels = 1; pixels <= tile; ++pixels) {
      check_products(*kernel, {pixels, 8, 9, 1, none, false, false});
    }
    check_conversion(*kernel);
    check_special(*kernel);
    check_columns(*kernel);
    check_largest(*kernel);
    check_magnitudes(*kernel);
  }
}

// Where products of pairs are added in 16 bits, neighbours of one sign share the range; of two signs, or alone, each
// has all of it. Whatever the weights are, no pair is beyond the limit.
void test_pairs() {
  constexpr std::int64_t kLimit = 64;
  std::int8_t q[6];
  const float alike[4] = {-1.0F, -1.0F, 0.5F, 0.25F};
  CHECK(std::abs(narrow::quantize(alike, 1, 4, kLimit, q) - 1.0F / 64.0F) < 1e-5F);
  CHECK(q[0] == -64 && q[1] == -64 && q[2] == 32 && q[3] == 16);
  const float apart[4] = {-1.0F, 1.0F, 1.0F, -1.0F};
  CHECK(std::abs(narrow::quantize(apart, 1, 4, kLimit, q) - 1.0F / 127.0F) < 1e-8F);
  CHECK(q[0] == -127 && q[1] == 127 && q[2] == 127 && q[3] == -127);
  const float parts[6] = {-1.0F, 0.25F, 1.0F, 1.0F, -1.0F, -1.0F};  // pairs are (-1, 0.25) and (1, -1)
  CHECK(std::abs(narrow::quantize(parts, 2, 3, kLimit, q) - 1.0F / 127.0F) < 1e-8F);
  for (int seed = 0; seed < 200; ++seed) {
    const std::vector<float> weight = random_floats(400, 500 + seed);
    std::vector<std::int8_t> rounded(weight.size());
    narrow::quantize(weight.data(), 1, 400, kLimit, rounded.data());
    for (std::size_t k = 0; k < rounded.size(); k += 2) {
      const int above = std::max<int>(rounded[k], 0) + std::max<int>(rounded[k + 1], 0);
      const int below = std::min<int>(rounded[k], 0) + std::min<int>(rounded[k + 1], 0);
      CHECK(above <= 128 && below >= -128);
    }
  }
}

// One large weight of 64 makes the others 0 in 8 bits: their error is sqrt(63) / its size.
void test_rounding() {
  const float weight[5] = {0.5F, -2.54F, 1.27F, 0.031F, -0.009F};
  std::int8_t q[6];
  CHECK(std::abs(narrow::quantize(weight, 1, 5, 127, q) - 0.02F) < 1e-8F);
  CHECK(q[0] == 25 && q[1] == -127 && q[2] == 64 && q[3] == 2 && q[4] == 0);
  const float nothing[2] = {0.0F, -0.0F};
  CHECK(narrow::quantize(nothing, 1, 2, 127, q) == 0.0F && q[0] == 0 && q[1] == 0);
  test_pairs();

  CHECK(narrow::bf16_of(1.0F) == 0x3f80);
  CHECK(narrow::bf16_of(1.00390625F) == 0x3f80);  // half a step: to even
  CHECK(narrow::bf16_of(1.01171875F) == 0x3f82);  // three halves
  CHECK(narrow::bf16_of(3.4e38F) == 0x7f80);
  CHECK(narrow::float_of_bf16(0xbf80) == -1.0F);

  CHECK(fp16_of(1.0F) == 0x3c00 && fp16_of(-2.0F) == 0xc000 && fp16_of(65504.0F) == 0x7bff);
  CHECK(fp16_of(65519.0F) == 0x7bff && fp16_of(65520.0F) == 0x7c00 && fp16_of(kNan) == 0x7e00);
  CHECK(fp16_of(1.00048828125F) == 0x3c00 && fp16_of(1.00146484375F) == 0x3c02);  // halves to even
  CHECK(fp16_of(0x1p-24F) == 1 && fp16_of(0x1p-25F) == 0 && fp16_of(0x1.8p-24F) == 2 &&
        fp16_of(-0x1.ffp-15F) == 0x83fe);
  for (int half = 0; half < 0x10000; ++half) {
    const auto bits = static_cast<std::uint16_t>(half);
    const float value = float_of_fp16(bits);
    CHECK(std::isnan(value) ? (bits & 0x7fffU) > 0x7c00U : fp16_of(value) == bits);
  }
  const float large[3] = {3e5F, -1e38F, 7.0F};
  std::uint16_t scaled[3];
  CHECK(narrow::scale_to_fp16(large, 3, scaled) == 0x1p123F);
  CHECK(float_of_fp16(scaled[1]) == float_of_fp16(fp16_of(-1e38F / 0x1p123F)) && scaled[2] == 0);

  for (const narrow::Kernel* kernel : tested_kernels()) {
    std::vector<float> row(64, 1.0F);
    row[0] = 1000.0F;
    const double error = narrow::rounding_error(*kernel, row.data(), 1, 64);
    const bool int8 = kernel->precision == Precision::int8;
    CHECK(int8 ? std::abs(error - std::sqrt(63.0) / 1000.0) < 1e-4 : error == 0.0);
    if (kernel->precision == Precision::fp16) {
      row[0] = 2049.0F;  // between two steps of 2
      row[1] = 1e-9F;    // below float16's steps, but not below those of a number with a scale
      CHECK(std::abs(narrow::rounding_error(*kernel, row.data(), 1, 64) - 1.0 / 2049.0) < 1e-6);
    }
    row[1] = kNan;
    CHECK(std::isnan(narrow::rounding_error(*kernel, row.data(), 1, 64)));
  }
}

void test_choice() {
  const narrow::Kernel* kernel = nullptr;
  for (const Isa isa : kAllIsas) {
    CHECK(narrow::kernel_for(Precision::fp32, isa, &kernel).ok() && kernel == nullptr);
    for (const Precision precision : {Precision::bf16, Precision::fp16, Precision::int8}) {
      CHECK(narrow::kernel_for(precision, isa, &kernel).ok());
      CHECK(kernel == nullptr || kernel->precision == precision);
    }
  }
  CHECK(narrow::kernel_for(Precision::int8, Isa::scalar, &kernel).ok());
  CHECK(kernel != nullptr && std::strcmp(kernel->name, "scalar_int8") == 0);
}

// On a processor with just these extensions, or none: each precision has the last one of its own that is faster, else
// float32.
void test_extensions(const std::string& expected) {
  std::string found;
  const narrow::Kernel* best[3] = {};
  const Precision precisions[] = {Precision::bf16, Precision::fp16, Precision::int8};
  for (const narrow::Extension& each : narrow::extensions()) {
    if (!each.supported || each.isa != Isa::neon) continue;
    found += (found.empty() ? "" : ",") + std::string(each.kernel->name);
    for (int i = 0; i < 3; ++i) {
      if (each.faster && each.kernel->precision == precisions[i]) best[i] = each.kernel;
    }
  }
  CHECK_MSG(found == expected, "expected \"" + expected + "\", got \"" + found + "\"");
  for (int i = 0; i < 3; ++i) {
    const narrow::Kernel* kernel = nullptr;
    CHECK(narrow::kernel_for(precisions[i], Isa::neon, &kernel).ok() && kernel == best[i]);
  }
}

void test_forced() {
  const char* const text = std::getenv("EVSAM_NARROW");
  const std::string forced = text == nullptr ? "" : text;
  const narrow::Kernel* kernel = nullptr;
  if (forced == "scalar_int8,nonsense") {
    const Status status = narrow::kernel_for(Precision::int8, Isa::scalar, &kernel);
    CHECK(status.code() == StatusCode::kUnavailable);
    CHECK_MSG(status.message().find("EVSAM_NARROW: expected extensions of this machine and build (scalar_bf16, ") == 0,
              status.message());
    return;
  }
  CHECK(forced == "scalar_int8");
  CHECK(narrow::kernel_for(Precision::int8, Isa::scalar, &kernel).ok() && kernel != nullptr);
  CHECK(narrow::kernel_for(Precision::bf16, Isa::scalar, &kernel).ok() && kernel == nullptr);
  CHECK(narrow::kernel_for(Precision::int8, Isa::avx2, &kernel).ok() && kernel == nullptr);
}

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void perf() {
  const Shape shapes[] = {
      {192, 128, 512, 1, Activation::none, false, false},     {192, 512, 128, 1, Activation::none, false, false},
      {192, 256, 1024, 1, Activation::none, false, false},    {192, 32, 128, 1, Activation::none, false, false},
      {192, 32, 128, 1, Activation::gelu_tanh, false, false}, {192, 96, 128, 3, Activation::none, false, true}};
  for (const Shape& shape : shapes) {
    for (const narrow::Kernel* kernel : supported_kernels()) {
      const std::int64_t inputs = shape.pixels + shape.parts - 1;
      const std::vector<float> x = random_floats(inputs * shape.channels, 1);
      const std::vector<float> weight = random_floats(shape.out_channels * shape.parts * shape.channels, 2);
      narrow::Weights packed;
      narrow::pack(*kernel, weight.data(), nullptr, shape.out_channels, shape.parts, shape.channels, &packed);
      const Operand operand = convert(*kernel, x, shape.channels, packed.depth, shape.one_range, 0);
      std::vector<float> y(size(shape.pixels * shape.out_channels));
      narrow::Rows rows = narrow::rows_of(packed, 0, shape.out_channels);
      for (std::int64_t i = 0; i < shape.parts; ++i) {
        rows.parts[i] = {operand.bytes.data() + i * operand.stride, operand.stride};
      }
      rows.scale = operand.scale.data();
      rows.zero = operand.zero.data();
      rows.scale_stride = shape.one_range ? 0 : 1;
      rows.y = y.data();
      rows.y_stride = shape.out_channels;
      rows.pixels = shape.pixels;
      rows.activation = shape.activation;
      double best = 1e9;
      double best_convert = 1e9;
      const double macs = double(shape.pixels * shape.out_channels * shape.parts * shape.channels);
      const int calls = std::max(1, static_cast<int>(2e7 / macs));
      std::vector<std::uint8_t> again(operand.bytes.size());
      std::vector<float> scale(size(inputs)), zero(size(inputs));
      for (int round = 0; round < 30; ++round) {
        double start = cpu_seconds();
        for (int i = 0; i < calls; ++i) kernel->run(rows);
        best = std::min(best, (cpu_seconds() - start) / calls);
        start = cpu_seconds();
        for (int i = 0; i < calls; ++i) {
          kernel->convert({x.data(), shape.channels, again.data(), operand.stride, inputs, shape.channels, packed.depth,
                           nullptr, scale.data(), zero.data()});
        }
        best_convert = std::min(best_convert, (cpu_seconds() - start) / calls);
      }
      std::printf("%-12s %4d x %d x %4d x %4d act %d  %7.1f GMAC/s  convert %6.2f Gfloat/s\n", kernel->name,
                  int(shape.pixels), int(shape.parts), int(shape.channels), int(shape.out_channels),
                  int(shape.activation), 1e-9 * macs / best, 1e-9 * double(x.size()) / best_convert);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "perf") {
    perf();
  } else if (mode == "forced") {
    test_forced();
  } else if (mode == "extensions") {
    test_extensions(argc > 2 ? argv[2] : "");
    test_kernels();
  } else {
    test_kernels();
    test_rounding();
    test_choice();
  }
  return evsam::test::test_result();
}
