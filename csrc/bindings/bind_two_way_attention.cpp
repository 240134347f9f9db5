#include "bindings/packed_op.h"
#include "bindings/unlocked.h"
#include "core/workspace.h"
#include "ops/two_way_attention/two_way_attention.h"

#include <vector>

namespace py = pybind11;

namespace evsam::bindings {
namespace of_two_way_attention {

namespace op = two_way_attention;

// Rows of weights lie this many floats further apart than they are long, for the L1 cache's sets.
constexpr std::int64_t kRowGap = 16;

// What the tokens of all prompts bring, (P, rows, channels), in rows apart.
class Matrices {
 public:
  Matrices(const float* values, std::int64_t prompts, std::int64_t rows, std::int64_t channels)
      : rows_(rows), stride_(channels + kRowGap), values_(static_cast<std::size_t>(prompts * rows * stride_)) {
    for (std::int64_t row = 0; values != nullptr && row < prompts * rows; ++row) {
      std::copy_n(values + row * channels, channels, values_.data() + row * stride_);
    }
  }

  op::Rows of(std::int64_t prompt) { return {row(prompt), stride_}; }
  float* row(std::int64_t prompt) { return values_.data() + prompt * rows_ * stride_; }
  std::int64_t stride() const { return stride_; }

 private:
  std::int64_t rows_;
  std::int64_t stride_;
  std::vector<float> values_;
};

float* result_of(const py::object& array, const std::string& name, const std::vector<std::int64_t>& shape) {
  if (array.is_none()) return nullptr;
  auto out = py::cast<py::array>(array);
  weights_of(out, name, shape);
  return static_cast<float*>(output_view(out, name).data);
}

void run(const py::array& cells, const py::array& position, const py::object& update, const py::object& queries,
         const py::object& cells_out, const py::object& means, std::int64_t heads, const py::object& threads,
         const std::string& isa) {
  const float* image = weights_of(cells, "cells", {-1, -1, -1});
  if (cells.ndim() != 3) throw py::value_error(expected_got("cells", "shape (P, X, C)", "another number of axes"));
  const std::int64_t prompts = cells.shape(0);
  op::Params params;
  params.cells = cells.shape(1);
  params.channels = cells.shape(2);
  params.heads = heads;
  const float* places = weights_of(position, "position", {params.cells, params.channels});
  const bool asks = !queries.is_none();
  const auto of_tokens = py::cast<py::array>(asks ? queries : py::reinterpret_borrow<py::tuple>(update)[0]);
  weights_of(of_tokens, asks ? "queries" : "keys", {prompts, -1, params.channels});
  if (of_tokens.ndim() != 3)
    throw py::value_error(expected_got("queries", "shape (P, R, C)", "another number of axes"));
  const std::int64_t rows = of_tokens.shape(1);
  if (heads < 1 || rows % heads != 0) {
    throw py::value_error(
        expected_got("heads", "a divisor of " + std::to_string(rows) + " rows", std::to_string(heads)));
  }
  params.tokens = rows / heads;
  const std::vector<std::int64_t> matrix = {prompts, rows, params.channels};

  const float* parts[6] = {};
  if (!update.is_none()) {
    const auto given = py::reinterpret_borrow<py::tuple>(update);
    const std::vector<std::int64_t> vector = {params.channels};
    const char* names[6] = {"keys", "key_bias", "values", "bias", "gain", "shift"};
    const std::vector<std::int64_t> shapes[6] = {matrix, {prompts, rows}, matrix, vector, vector, vector};
    for (std::size_t i = 0; i < 6; ++i) parts[i] = weights_of(py::cast<py::array>(given[i]), names[i], shapes[i]);
  }
  const float* asked = optional_weights_of(queries, "queries", matrix);
  float* updated = result_of(cells_out, "cells_out", {prompts, params.cells, params.channels});
  float* answers = result_of(means, "means", matrix);
  const Kernels& kernels = kernels_named(isa);
  RunContext context;
  context.threads = thread_count(threads);
  const op::Kernel& kernel = *kernels.two_way_attention;

  const Unlocked unlocked;
  const auto panels = static_cast<std::size_t>(op::panel_floats(kernel, params.cells, params.channels));
  std::vector<float> places_in_panels(panels);
  std::vector<float> image_in_panels(panels * static_cast<std::size_t>(prompts));
  const auto panels_of = [&](std::int64_t prompt) {
    return image_in_panels.data() + static_cast<std::size_t>(prompt) * panels;
  };
  const std::int64_t of_image = params.cells * params.channels;
  op::to_panels(kernel, context, places, params.cells, params.channels, places_in_panels.data());
  Matrices keys(parts[0], parts[0] == nullptr ? 0 : prompts, rows, params.channels);
  Matrices values(parts[2], parts[2] == nullptr ? 0 : prompts, rows, params.channels);
  Matrices questions(asked, asked == nullptr ? 0 : prompts, rows, params.channels);
  Matrices found(nullptr, prompts, rows, params.channels);
  std::vector<op::Update> updates(static_cast<std::size_t>(prompts));
  std::vector<op::Prompt> all(static_cast<std::size_t>(prompts));
  for (std::int64_t p = 0; p < prompts; ++p) {
    op::to_panels(kernel, context, image + p * of_image, params.cells, params.channels, panels_of(p));
    op::Prompt& prompt = all[static_cast<std::size_t>(p)];
    prompt.image_in = panels_of(p);
    if (parts[0] != nullptr) {
      op::Update& brought = updates[static_cast<std::size_t>(p)];
      brought = {keys.of(p), parts[1] + p * rows, values.of(p), parts[3], parts[4], parts[5], {}};
      prompt.image_out = panels_of(p);
      prompt.update = &brought;
    }
    if (asked != nullptr) {
      prompt.queries = questions.of(p);
      prompt.means = found.row(p);
      prompt.means_stride = found.stride();
    }
  }
  const Status status = op::validate(params, all.data(), prompts);
  if (status.ok()) {
    context.workspace_bytes = op::workspace_bytes(kernel, params, prompts, context.thread_count());
    context.workspace = thread_workspace().reserve(context.workspace_bytes);
    op::run(kernel, context, params, places_in_panels.data(), all.data(), prompts);
  }
  for (std::int64_t p = 0; updated != nullptr && p < prompts; ++p) {
    op::from_panels(kernel, context, panels_of(p), params.cells, params.channels, updated + p * of_image);
  }
  for (std::int64_t row = 0; answers != nullptr && row < prompts * rows; ++row) {
    std::copy_n(found.row(0) + row * found.stride(), params.channels, answers + row * params.channels);
  }
  const py::gil_scoped_acquire locked;
  check(status);
}

}  // namespace of_two_way_attention

void bind_two_way_attention(py::module_& m) {
  using namespace of_two_way_attention;
  m.def(
      "two_way_attention", &run, py::arg("cells").noconvert(), py::arg("position").noconvert(), py::arg("update"),
      py::arg("queries"), py::arg("cells_out"), py::arg("means"), py::kw_only(), py::arg("heads"),
      py::arg("threads") = py::none(), py::arg("isa") = "",
      "An update of cells (P, X, C) by tokens (keys, key_bias, values, bias, gain, shift), a query of them, or both.");
}

}  // namespace evsam::bindings
