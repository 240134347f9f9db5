// TensorRT's expressions of shapes: numbers, of which some are not known before run time.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <deque>
#include <memory>

namespace evsam::test {

class Expressions {
 public:
  Expressions();
  ~Expressions();
  Expressions(const Expressions&) = delete;
  Expressions& operator=(const Expressions&) = delete;

  nvinfer1::IExprBuilder& builder() const;
  const nvinfer1::IDimensionExpr* constant(std::int64_t value) const;
  // One that is `value` at run time.
  const nvinfer1::IDimensionExpr* variable(std::int64_t value) const;
  // At run time.
  static std::int64_t value_of(const nvinfer1::IDimensionExpr& expression);

 private:
  class Builder;
  std::unique_ptr<Builder> builder_;
};

}  // namespace evsam::test
