#include "expressions.h"

#include <limits>

namespace evsam::test {
namespace {

class Expression final : public nvinfer1::IDimensionExpr, private nvinfer1::apiv::VDimensionExpr {
 public:
  Expression(std::int64_t value, bool is_constant) : value_(value), is_constant_(is_constant) { mImpl = this; }
  ~Expression() noexcept override = default;

  std::int64_t value() const { return value_; }
  bool is_constant() const { return is_constant_; }

 private:
  bool isConstant() const override { return is_constant_; }
  std::int64_t getConstantValue() const override {
    return is_constant_ ? value_ : std::numeric_limits<std::int64_t>::min();
  }
  bool isSizeTensor() const override { return false; }

  std::int64_t value_;
  bool is_constant_;
};

const Expression& own(const nvinfer1::IDimensionExpr& expression) { return static_cast<const Expression&>(expression); }

}  // namespace

class Expressions::Builder final : public nvinfer1::IExprBuilder, private nvinfer1::apiv::VExprBuilder {
 public:
  Builder() { mImpl = this; }
  ~Builder() noexcept override = default;

  const nvinfer1::IDimensionExpr* add(std::int64_t value, bool is_constant) {
    return &expressions_.emplace_back(value, is_constant);
  }

 private:
  const nvinfer1::IDimensionExpr* constant(std::int64_t value) override { return add(value, true); }
  const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation operation,
                                            const nvinfer1::IDimensionExpr& first,
                                            const nvinfer1::IDimensionExpr& second) override {
    const std::int64_t a = own(first).value();
    const std::int64_t b = own(second).value();
    const bool is_constant = own(first).is_constant() && own(second).is_constant();
    switch (operation) {
      case nvinfer1::DimensionOperation::kFLOOR_DIV: return add(a / b, is_constant);
      case nvinfer1::DimensionOperation::kCEIL_DIV: return add((a + b - 1) / b, is_constant);
      default: return nullptr;
    }
  }
  const nvinfer1::IDimensionExpr* declareSizeTensor(std::int32_t, const nvinfer1::IDimensionExpr&,
                                                    const nvinfer1::IDimensionExpr&) override {
    return nullptr;
  }

  std::deque<Expression> expressions_;
};

Expressions::Expressions() : builder_(std::make_unique<Builder>()) {}
Expressions::~Expressions() = default;

nvinfer1::IExprBuilder& Expressions::builder() const { return *builder_; }

const nvinfer1::IDimensionExpr* Expressions::constant(std::int64_t value) const { return builder_->add(value, true); }

const nvinfer1::IDimensionExpr* Expressions::variable(std::int64_t value) const { return builder_->add(value, false); }

std::int64_t Expressions::value_of(const nvinfer1::IDimensionExpr& expression) { return own(expression).value(); }

}  // namespace evsam::test
