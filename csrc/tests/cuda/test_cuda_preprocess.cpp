// The preprocess kernels in emulation against the definition, bit by bit: photos larger, smaller and of the image's
// size, both orders of the passes, odd sizes, gaps between rows, 3 and 8 channels, messages.
#include "ops/preprocess/preprocess_cuda.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/preprocess/preprocess.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::preprocess;
using preprocess::kDeviation;
using preprocess::kMean;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

struct Photo {
  std::vector<std::uint8_t> data;  // ends with the last pixel, so that a sanitizer sees what is read behind it
  preprocess::Photo photo;

  Photo(std::int64_t height, std::int64_t width, std::int64_t gap) {
    photo.height = height;
    photo.width = width;
    photo.row_bytes = width * 3 + gap;
    data.resize(index((height - 1) * photo.row_bytes + width * 3));
    std::mt19937 random(static_cast<unsigned>(height * 1000 + width));
    for (std::uint8_t& byte : data) {
      // Many extreme values, where clamping and rounding show.
      const std::uint_fast32_t value = random();
      byte = static_cast<std::uint8_t>((value & 0x300) == 0 ? 255 : (value & 0x300) == 0x100 ? 0 : value & 0xFF);
    }
    photo.data = data.data();
  }

  ConstTensorView view() const {
    ConstTensorView result;
    result.data = photo.data;
    result.dtype = DType::kUInt8;
    result.ndim = 3;
    const std::int64_t shape[3] = {photo.height, photo.width, 3};
    const std::int64_t strides[3] = {photo.row_bytes, 3, 1};
    std::copy(shape, shape + 3, result.shape);
    std::copy(strides, strides + 3, result.strides);
    return result;
  }
};

void test_case(DType dtype, std::int64_t channels, std::int64_t height, std::int64_t width, std::int64_t side,
               bool rows_first = false) {
  const Photo photo(height, width, (height + width) % 3);
  const preprocess::Size size = preprocess::fitted_size(height, width, side);
  CHECK(preprocess::rows_first(height, width, size) == rows_first);
  std::vector<std::uint8_t> bytes(index(size.height * size.width * 3));
  preprocess::resize_by_definition(photo.photo, side, bytes.data());
  std::vector<double> expected;
  for (std::int64_t row = 0; row < side; ++row) {
    for (std::int64_t column = 0; column < side; ++column) {
      for (std::int64_t c = 0; c < channels; ++c) {
        float value = 0.0F;
        if (row < size.height && column < size.width && c < 3) {
          const std::uint8_t byte = bytes[index((row * size.width + column) * 3 + c)];
          value = (static_cast<float>(byte) - kMean[c]) / kDeviation[c];
        }
        expected.push_back(rounded(dtype, static_cast<double>(value)));
      }
    }
  }

  const DeviceMemory out(dtype, side * side * channels);
  op::Params params;
  params.photo = photo.view();
  params.out = out.map(1, channels, side, side);
  const DeviceMemory workspace(DType::kFloat32, static_cast<std::int64_t>(op::workspace_bytes(params, {}) / 4));
  const Status status = op::run(params, workspace.data(), workspace.bytes(), 0);
  CHECK_MSG(status.ok(), status.message());
  CHECK_MSG(out.values() == expected, std::string(dtype_name(dtype)) + " " + std::to_string(height) + " x " +
                                          std::to_string(width) + " to " + std::to_string(side) + ", " +
                                          std::to_string(channels) + " channels");
}

void test_bits() {
  for (const DType dtype : {DType::kFloat16, DType::kFloat32}) {
    for (const std::int64_t channels : {3, 8}) {
      test_case(dtype, channels, 72, 128, 64);
      test_case(dtype, channels, 200, 61, 64, true);
      test_case(dtype, channels, 37, 37, 37);
    }
  }
  const DType f16 = DType::kFloat16;
  test_case(f16, 8, 20, 33, 96);    // larger than the photo
  test_case(f16, 8, 48, 64, 64);    // of its size
  test_case(f16, 8, 101, 131, 37);  // primes
  test_case(f16, 8, 131, 101, 37);
  test_case(f16, 8, 310, 410, 37);  // chunks without the tile's first taps
  test_case(f16, 8, 640, 310, 37, true);
  test_case(f16, 8, 1, 700, 40);        // one row
  test_case(f16, 8, 700, 1, 40, true);  // one column
  test_case(f16, 8, 3, 5000, 40);       // more taps than a chunk has columns
  test_case(f16, 8, 5000, 3, 40, true);
  test_case(f16, 8, 1, 1, 33);
}

void check_message(const op::Params& params, std::size_t workspace_bytes, const std::string& message) {
  alignas(16) static std::int32_t workspace[1024];
  const Status status = op::run(params, workspace, workspace_bytes, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(DType::kFloat16, 8 * 16 * 16);
  const Photo photo(8, 12, 0);
  op::Params good;
  good.photo = photo.view();
  good.out = memory.map(1, 8, 16, 16);
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.photo.dtype = DType::kInt8;
  check_message(p, 4096, "image: expected dtype uint8, got int8");
  p = good;
  p.photo.shape[2] = 4;
  check_message(p, 4096, "image: expected shape (H, W, 3), got (8, 12, 4)");
  p = good;
  p.photo.shape[0] = 0;
  check_message(p, 4096, "image: expected 1 to 16777216 pixels a side, got (0, 12, 3)");
  p = good;
  p.photo.strides[1] = 4;
  check_message(p, 4096, "image: expected rows of neighbouring pixels that do not overlap, got strides (36, 4, 1)");
  p = good;
  p.photo.strides[0] = 35;
  check_message(p, 4096, "image: expected rows of neighbouring pixels that do not overlap, got strides (35, 3, 1)");
  p = good;
  p.out.dtype = DType::kBFloat16;
  check_message(p, 4096, "out: expected dtype float16 or float32, got bfloat16");
  p = good;
  p.out = memory.map(1, 8, 16, 16, false);
  check_message(p, 4096,
                "out: expected a map without gaps, channels last in memory, got shape (1, 8, 16, 16), strides (2048, "
                "256, 16, 1)");
  for (const auto& [batch, channels, height] : {std::array<std::int64_t, 3>{2, 3, 16}, {1, 4, 16}, {1, 8, 8}}) {
    p = good;
    p.out = memory.map(batch, channels, height, 16);
    const std::int64_t shape[4] = {batch, channels, height, 16};
    check_message(p, 4096, "out: expected shape (1, 3, S, S) or (1, 8, S, S), got " + shape_string(shape, 4));
  }
  p = good;
  p.out = memory.map(1, 8, 2000000, 2000000);
  check_message(p, 4096, "out: expected at most 1048560 pixels a side, got (1, 8, 2000000, 2000000)");
  p = good;
  p.out.data = static_cast<char*>(p.out.data) + 2;
  check_message(p, 4096, "out: expected an address that is a multiple of 16 bytes, got one that is 2 off");
  const std::size_t needed = op::workspace_bytes(good, {});
  check_message(good, needed - 1,
                "workspace: expected at least " + std::to_string(needed) + " bytes, got " + std::to_string(needed - 1));
  CHECK(op::run(good, nullptr, needed, 0).message() ==
        "workspace: expected at least " + std::to_string(needed) + " bytes, got 0");
  char* workspace = static_cast<char*>(memory.data());
  CHECK(op::run(good, workspace + 4, needed, 0).message() ==
        "workspace: expected an address that is a multiple of 16 bytes, got one that is 4 off");
}

}  // namespace

int main() {
  test_bits();
  test_messages();
  return test_result();
}
