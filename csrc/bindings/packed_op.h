// An op of the CPU as Python holds it: weights packed for one instruction set, called with maps.
//
// A bind_<op>.cpp makes one from the op's arrays and numbers: PackedOp::from_maps where the op is pack() / validate() /
// workspace_bytes() / run() on feature maps, or else a function that checks one call and says how it runs.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/check.h"
#include "bindings/kernels.h"
#include "core/activation.h"
#include "core/feature_map.h"
#include "core/precision.h"
#include "core/run_context.h"

namespace evsam::bindings {

// The images of a float32 array (B, H, W, C), or nothing.
template <typename Float>
struct Images {
  BasicFeatureMap<Float> first;
  std::int64_t count = 0;
  std::int64_t stride = 0;  // floats from one to the next

  BasicFeatureMap<Float> operator[](std::int64_t image) const {
    BasicFeatureMap<Float> map = first;
    if (map.data != nullptr) map.data += image * stride;
    return map;
  }
};

// A checked call: what it needs and does.
struct Call {
  std::size_t workspace_bytes = 0;
  std::function<void(const RunContext&)> run;
};

// Inputs as Python gave them (None: data nullptr) and the output, all float32.
struct Arguments {
  std::vector<ConstTensorView> inputs;
  TensorView out;
  int threads = 0;
};

Images<const float> images_of(const ConstTensorView& view, const std::string& name);
Images<float> images_of(const TensorView& view, const std::string& name);

// A ValueError where an input is given and has not as many images as the output.
void check_batch(const std::string& name, const Images<const float>& input, const Images<float>& out);

// Of an input, without the ? of those that may be None.
std::string plain_name(const std::string& input);

class PackedOp {
 public:
  using Prepare = std::function<Call(const Arguments&)>;

  // `inputs`: names of the arrays of a call; one that ends in ? may be None.
  PackedOp(std::vector<std::string> inputs, Prepare prepare);

  // For an op whose functions take `packed`, its input maps in order, and y.
  template <typename Packed, typename... Rest>
  static PackedOp from_maps(std::shared_ptr<const Packed> packed, const char* x, Rest... rest) {
    return of_maps(std::move(packed), {x, rest...}, std::make_index_sequence<1 + sizeof...(Rest)>());
  }

  void call(const pybind11::sequence& inputs, pybind11::array& out, const pybind11::object& threads) const;

 private:
  template <typename Packed, std::size_t... kIndex>
  static PackedOp of_maps(std::shared_ptr<const Packed> packed, std::vector<std::string> names,
                          std::index_sequence<kIndex...> /*indices*/) {
    const std::vector<std::string> plain = {plain_name(names[kIndex])...};
    const auto prepare = [packed, plain](const Arguments& arguments) {
      const Images<float> y = images_of(arguments.out, "out");
      const std::vector<Images<const float>> inputs = {images_of(arguments.inputs[kIndex], plain[kIndex])...};
      for (std::size_t i = 0; i < inputs.size(); ++i) check_batch(plain[i], inputs[i], y);
      check(validate(*packed, inputs[kIndex].first..., y.first));
      Call call;
      call.workspace_bytes = workspace_of(*packed, inputs[0].first, arguments.threads);
      call.run = [packed, inputs, y](const RunContext& context) {
        for (std::int64_t image = 0; image < y.count; ++image) {
          run(*packed, context, inputs[kIndex][image]..., y[image]);
        }
      };
      return call;
    };
    return PackedOp(std::move(names), prepare);
  }

  // Ops differ in what their scratch memory depends on.
  template <typename Packed>
  static auto workspace_of(const Packed& packed, const ConstFeatureMap& x, int threads) {
    if constexpr (std::is_invocable_v<HeightAndWidth, const Packed&>) {
      return workspace_bytes(packed, x.height, x.width, threads);
    } else if constexpr (std::is_invocable_v<Pixels, const Packed&>) {
      return workspace_bytes(packed, x.pixels(), threads);
    } else if constexpr (std::is_invocable_v<Threads, const Packed&>) {
      return workspace_bytes(packed, threads);
    } else {
      return std::size_t{0};
    }
  }

  struct HeightAndWidth {
    template <typename Packed>
    auto operator()(const Packed& packed) -> decltype(workspace_bytes(packed, std::int64_t{}, std::int64_t{}, 0));
  };
  struct Pixels {
    template <typename Packed>
    auto operator()(const Packed& packed) -> decltype(workspace_bytes(packed, std::int64_t{}, 0));
  };
  struct Threads {
    template <typename Packed>
    auto operator()(const Packed& packed) -> decltype(workspace_bytes(packed, 0));
  };

  std::vector<std::string> inputs_;
  Prepare prepare_;
};

// Weights: float32 in C order, of this shape (-1: any extent); last axes of length 1 may be missing. The pointer is
// into the array.
const float* weights_of(const pybind11::array& array, const std::string& name, const std::vector<std::int64_t>& shape);
// None: nullptr.
const float* optional_weights_of(const pybind11::object& array, const std::string& name,
                                 const std::vector<std::int64_t>& shape);

// From their names, or a ValueError.
Activation activation_of(const std::string& name);
Precision precision_of(const std::string& name);

}  // namespace evsam::bindings
