// What an op says about itself. plugin.h makes TensorRT's interfaces of it: an op knows neither phases nor logs, and
// its functions may throw.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cuda/runtime.h"
#include "evsam/status.h"
#include "tensorrt/fields.h"
#include "tensorrt/tensors.h"

namespace evsam::tensorrt {

// Of an input. The output is a map.
enum class Role : std::uint8_t {
  map,     // (B, C, H, W), of the type and in the format of the first one
  weight,  // of the type of the maps, kLINEAR
  vector,  // float32, kLINEAR
};

// Types and formats of maps. Channels last: kHWC8 for 16 bits, kHWC for float32, of a multiple of 8 channels.
enum class MapFormats : std::uint8_t {
  half_last,  // float16, channels last
  last,       // float16, bfloat16 or float32, channels last
  any,        // or kLINEAR
};

struct Signature {
  const char* name;  // of the plugin and of the node in ONNX
  MapFormats maps;
  std::vector<Role> roles;  // of all inputs; the first one is a map
  int least_inputs;         // the others may be left out
};

// Expressions of axes that are not known before run time.
class ShapeBuilder {
 public:
  using Axis = const nvinfer1::IDimensionExpr*;

  explicit ShapeBuilder(nvinfer1::IExprBuilder& builder) : builder_(builder) {}
  Axis floor_divide(Axis axis, std::int64_t by) const {
    return operation(nvinfer1::DimensionOperation::kFLOOR_DIV, axis, by);
  }
  Axis ceil_divide(Axis axis, std::int64_t by) const {
    return operation(nvinfer1::DimensionOperation::kCEIL_DIV, axis, by);
  }

 private:
  Axis operation(nvinfer1::DimensionOperation what, Axis axis, std::int64_t by) const {
    return builder_.operation(what, *axis, *builder_.constant(by));
  }

  nvinfer1::IExprBuilder& builder_;
};

class Op {
 public:
  virtual ~Op() = default;

  virtual const Signature& signature() const = 0;
  virtual std::unique_ptr<Op> clone() const = 0;
  virtual void visit_fields(FieldVisitor& visitor) = 0;

  // Of `count` inputs; maps have four axes.
  virtual nvinfer1::DimsExprs output_shape(const nvinfer1::DimsExprs* inputs, int count,
                                           const ShapeBuilder& builder) const = 0;

  virtual Status validate(const Tensors& tensors) const = 0;

  // For run() on `device`. Tensors must be valid, also below.
  virtual std::size_t workspace_bytes(const Tensors&, const cuda::Device&) const { return 0; }

  // What to ask TensorRT for where these are the largest tensors: at least workspace_bytes() of these and of all
  // smaller ones, on a device of `multiprocessors` at most. It must not be less for larger tensors. Where it turns out
  // to be too little, the plugin allocates.
  virtual std::size_t workspace_limit(const Tensors&, int /*multiprocessors*/) const { return 0; }

  virtual Status run(const Tensors& tensors, void* workspace, std::size_t workspace_bytes,
                     cuda::Stream stream) const = 0;
};

std::unique_ptr<Op> make_fused_mbconv();
std::unique_ptr<Op> make_layer_norm_2d();
std::unique_ptr<Op> make_lite_mla();
std::unique_ptr<Op> make_relu_linear_attention();
std::unique_ptr<Op> make_upsample_add();

}  // namespace evsam::tensorrt
