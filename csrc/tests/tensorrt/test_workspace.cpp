// What plugins ask TensorRT for is what their launchers need, on small and large devices and for all shapes up to the
// largest: memory of a plugin's own is for engines that moved to a larger device.
#include <algorithm>
#include <string>

#include "check.h"
#include "cuda/arguments.h"
#include "host.h"
#include "tensorrt/op.h"

namespace {

using namespace evsam;
using namespace evsam::test;
using tensorrt::Op;
using tensorrt::Tensors;

Tensors tensors_of(DType dtype, const std::vector<Shape>& inputs, const Shape& output) {
  Tensors tensors;
  const auto read = [&](int position, const Shape& shape) {
    const bool is_map = position == 0 || position == static_cast<int>(inputs.size());
    const bool is_vector = shape.size() == 1;
    const auto desc = describe(is_vector ? DType::kFloat32 : dtype,
                               is_map ? last_format(dtype) : nvinfer1::TensorFormat::kLINEAR, shape);
    TensorView view;
    CHECK(tensorrt::read_tensor(desc, tensorrt::placeholder(position), "tensor", &view).ok());
    return view;
  };
  for (const Shape& shape : inputs) {
    tensors.inputs[tensors.count] = cuda::as_const(read(tensors.count, shape));
    ++tensors.count;
  }
  tensors.output = read(tensors.count, output);
  return tensors;
}

// `make` gives the tensors of a map's size.
template <typename Make>
void check_op(const Op& op, Make make) {
  std::size_t most = 0;
  for (const int multiprocessors : {1, 8, 16, 20, 108, 148, 200}) {
    cuda::Device device;
    device.multiprocessors = multiprocessors;
    const auto limit_of = [&](std::int64_t batch, std::int64_t height, std::int64_t width) {
      return op.workspace_limit(make(batch, height, width), multiprocessors);
    };
    for (const std::int64_t batch : {1, 2, 3, 7, 40}) {
      for (const std::int64_t height : {1, 4, 5, 16, 17, 31, 32, 64, 65, 129}) {
        for (const std::int64_t width : {1, 9, 16, 33, 64, 128}) {
          const Tensors tensors = make(batch, height, width);
          const Status status = op.validate(tensors);
          CHECK_MSG(status.ok(), status.message());
          const std::size_t needed = op.workspace_bytes(tensors, device);
          const std::size_t limit = op.workspace_limit(tensors, multiprocessors);
          CHECK_MSG(needed <= limit, std::string(op.signature().name) + ": needs " + std::to_string(needed) +
                                         " bytes and asks for " + std::to_string(limit));
          CHECK(limit <= limit_of(batch + 1, height, width));
          CHECK(limit <= limit_of(batch, height + 1, width));
          CHECK(limit <= limit_of(batch, height, width + 1));
          most = std::max(most, needed);
        }
      }
    }
  }
  CHECK(most > 0);
}

}  // namespace

int main() {
  const DType half = DType::kFloat16;
  for (const std::int64_t heads : {1, 4, 16}) {
    check_op(*tensorrt::make_relu_linear_attention(), [&](std::int64_t b, std::int64_t h, std::int64_t w) {
      return tensors_of(half, {{b, heads * 96, h, w}}, {b, heads * 32, h, w});
    });
    check_op(*tensorrt::make_lite_mla(), [&](std::int64_t b, std::int64_t h, std::int64_t w) {
      const std::int64_t total = heads * 32;
      const Shape x = {b, 64, h, w};
      return tensors_of(half, {x, {3 * total, 64}, {3 * total, 1, 5, 5}, {3 * total, 32}, {64, 2 * total}, {64}}, x);
    });
  }
  for (const std::int64_t hidden : {64, 96, 512}) {
    for (const std::int64_t outputs : {64, 128, 256}) {
      if (hidden == 64 && outputs != 128) continue;  // one block of hidden channels: nothing to split
      check_op(*tensorrt::make_fused_mbconv(), [&](std::int64_t b, std::int64_t h, std::int64_t w) {
        return tensors_of(half, {{b, 32, h, w}, {hidden, 3, 3, 32}, {hidden}, {outputs, hidden}, {outputs}},
                          {b, outputs, h, w});
      });
    }
  }
  return test_result();
}
