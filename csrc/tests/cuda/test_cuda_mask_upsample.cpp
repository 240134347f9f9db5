// The mask kernels in emulation against the specification, pixel by pixel, and against float64: photos smaller, larger
// and narrower than the frame, odd sizes, several masks, NaN and infinity, messages.
#include "ops/mask_upsample/mask_upsample_cuda.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/mask_upsample/mask_upsample.h"
#include "test_data.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::mask_upsample;
using mask_upsample::kFrameSize;
using mask_upsample::kLogitsSize;

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

struct Image {
  std::int64_t height;
  std::int64_t width;
  std::vector<float> values;

  float at(std::int64_t row, std::int64_t column) const { return values[index(row * width + column)]; }
};

// One pass of evsam/transforms.py: the first `keep` columns (or rows) of a resize to `target`.
Image resize_once(const Image& x, bool rows, std::int64_t target, std::int64_t keep) {
  const std::int64_t source = rows ? x.height : x.width;
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  Image y = {rows ? keep : x.height, rows ? x.width : keep, {}};
  for (std::int64_t r = 0; r < y.height; ++r) {
    for (std::int64_t c = 0; c < y.width; ++c) {
      const double position = std::max((static_cast<double>(rows ? r : c) + 0.5) * scale - 0.5, 0.0);
      const auto first = static_cast<std::int64_t>(position);
      const std::int64_t second = std::min(first + 1, source - 1);
      const auto weight = static_cast<float>(position - static_cast<double>(first));
      const float a = rows ? x.at(first, c) : x.at(r, first);
      const float b = rows ? x.at(second, c) : x.at(r, second);
      y.values.push_back(a * (1.0F - weight) + b * weight);
    }
  }
  return y;
}

struct Case {
  DType dtype;
  std::int64_t count;
  std::int64_t resized_height;
  std::int64_t resized_width;
  std::int64_t height;
  std::int64_t width;
  std::int64_t offset = 0;  // of the masks from an aligned address, in bytes
};

std::vector<std::uint8_t> run(const Case& c, const std::vector<double>& logits) {
  const DeviceMemory input(c.dtype, logits);
  const std::int64_t pixels = c.count * c.height * c.width;
  // Of the exact size, so that sanitizers see a store behind it.
  std::vector<std::uint8_t> bytes(index(c.offset + pixels), 77);
  op::Params params;
  params.logits = cuda::as_const(input.view({c.count, kLogitsSize, kLogitsSize}, {kPlane, kLogitsSize, 1}));
  params.resized_height = c.resized_height;
  params.resized_width = c.resized_width;
  params.masks.data = bytes.data() + c.offset;
  params.masks.dtype = DType::kUInt8;
  params.masks.ndim = 3;
  const std::int64_t shape[3] = {c.count, c.height, c.width};
  const std::int64_t strides[3] = {c.height * c.width, c.width, 1};
  std::copy(shape, shape + 3, params.masks.shape);
  std::copy(strides, strides + 3, params.masks.strides);
  const Status status = op::run(params, 0);
  CHECK_MSG(status.ok(), status.message());
  CHECK(std::count(bytes.begin(), bytes.begin() + c.offset, 77) == c.offset);
  return {bytes.begin() + c.offset, bytes.end()};
}

void test_case(const Case& c, const std::vector<double>& logits) {
  const std::vector<std::uint8_t> got = run(c, logits);
  std::vector<std::uint8_t> expected;
  bool near_float64 = true;
  for (std::int64_t n = 0; n < c.count; ++n) {
    Image image = {kLogitsSize, kLogitsSize, {}};
    for (std::int64_t i = 0; i < kPlane; ++i) image.values.push_back(static_cast<float>(logits[index(n * kPlane + i)]));
    image = resize_once(image, false, kFrameSize, c.resized_width);
    image = resize_once(image, true, kFrameSize, c.resized_height);
    image = resize_once(image, false, c.width, c.width);
    image = resize_once(image, true, c.height, c.height);
    std::vector<double> truth(image.values.size());
    mask_upsample::upscale_float64({1, c.resized_height, c.resized_width, c.height, c.width},
                                   logits.data() + n * kPlane, truth.data());
    for (std::size_t i = 0; i < truth.size(); ++i) {
      expected.push_back(image.values[i] > 0.0F ? 1 : 0);
      // Four averages of values below 6, each rounded three times, and weights with one rounding each.
      const bool clear = std::isfinite(truth[i]) && std::abs(truth[i]) > 6.0 * 16.0 * 6e-8;
      near_float64 = near_float64 && (!clear || expected.back() == (truth[i] > 0.0 ? 1 : 0));
    }
  }
  const std::int64_t sizes[5] = {c.count, c.resized_height, c.resized_width, c.height, c.width};
  const std::string name = std::string(dtype_name(c.dtype)) + " " + shape_string(sizes, 5);
  CHECK_MSG(near_float64, name + ": the specification in the test against float64");
  CHECK_MSG(got == expected, name);
}

void test_pixels() {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
    const std::vector<double> logits = rounded(dtype, widen(random_floats(3 * kPlane, 7)));
    test_case({dtype, 1, 576, 1024, 72, 128}, logits);     // smaller than the frame
    test_case({dtype, 3, 1024, 683, 97, 61}, logits);      // odd, several masks
    test_case({dtype, 1, 1024, 16, 1100, 13}, logits);     // taller than the frame: rows are shared
    test_case({dtype, 1, 9, 1024, 8, 1037}, logits);       // wider: two blocks side by side
    test_case({dtype, 2, 1, 1024, 1, 515}, logits);        // one row
    test_case({dtype, 1, 1024, 1, 33, 1}, logits);         // one column
    test_case({dtype, 1, 1024, 1024, 40, 40, 1}, logits);  // rows of whole words at odd addresses
    test_case({dtype, 1, 1024, 1024, 36, 36}, logits);
  }
}

void test_many_masks_have_long_blocks() {
  // Enough planes that blocks get all the rows they can have.
  const std::int64_t count = 70;
  std::vector<double> logits = widen(random_floats(count * kPlane, 9));
  test_case({DType::kFloat32, count, 37, 32, 37, 32}, logits);
}

void test_not_above_zero() {
  std::vector<double> logits(index(kPlane), 1.0);
  logits[100 * 256 + 100] = std::nan("");
  logits[30 * 256 + 30] = std::numeric_limits<double>::infinity();
  logits[200 * 256 + 10] = -std::numeric_limits<double>::infinity();
  test_case({DType::kFloat32, 1, 1024, 1024, 256, 256}, logits);
  const std::vector<std::uint8_t> zeros = run({DType::kFloat32, 1, 64, 64, 8, 8}, std::vector<double>(index(kPlane)));
  CHECK(std::count(zeros.begin(), zeros.end(), 0) == 64);
}

void check_message(const op::Params& params, const std::string& message) {
  const Status status = op::run(params, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(DType::kFloat32, 2 * kPlane);
  op::Params good;
  good.logits = cuda::as_const(memory.view({2, 256, 256}, {kPlane, 256, 1}));
  good.masks = memory.view({2, 4, 5}, {20, 5, 1});
  good.masks.dtype = DType::kBool;
  good.resized_height = good.resized_width = 1024;
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.logits.shape[0] = p.masks.shape[0] = 0;
  CHECK(op::run(p, 0).ok());
  p = good;
  p.logits.dtype = DType::kFloat64;
  check_message(p, "logits: expected dtype float32 or float16, got float64");
  p = good;
  p.logits.shape[2] = 255;
  check_message(p, "logits: expected shape (N, 256, 256), got (2, 256, 255)");
  p = good;
  p.logits.strides[1] = 512;
  check_message(p, "logits: expected C order without gaps, got strides (65536, 512, 1)");
  p = good;
  p.masks.dtype = DType::kFloat32;
  check_message(p, "masks: expected dtype uint8 or bool, got float32");
  p = good;
  p.masks.shape[0] = 1;
  check_message(p, "masks: expected shape (2, H, W), got (1, 4, 5)");
  p = good;
  p.masks.shape[1] = 0;
  check_message(p, "masks: expected 1 to 16777216 pixels a side, got (2, 0, 5)");
  p = good;
  p.masks.strides[1] = 8;
  check_message(p, "masks: expected C order without gaps, got strides (20, 8, 1)");
  p = good;
  p.resized_width = 1025;
  check_message(p, "resized_size: expected 1 to 1024 pixels a side, got (1024, 1025)");
}

}  // namespace

int main() {
  test_pixels();
  test_many_masks_have_long_blocks();
  test_not_above_zero();
  test_messages();
  return test_result();
}
