// The native engine. Arrays come from evsam/engines/native.py, which makes the outputs; still nothing is believed,
// since a wrong size would be a write into foreign memory.
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/engine.h"
#include "bindings/packed_op.h"
#include "bindings/unlocked.h"
#include "engine/architecture.h"
#include "engine/engine.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_engine {

using Shape = std::vector<std::int64_t>;

std::string describe(DType dtype, const Shape& shape) {
  return std::string(dtype_name(dtype)) + " " + shape_string(shape.data(), static_cast<int>(shape.size()));
}

// Checks dtype, shape (-1: any extent) and C order.
template <typename View>
void check_array(const View& view, const std::string& name, DType dtype, const Shape& shape) {
  const Shape got(view.shape, view.shape + view.ndim);
  bool fits = view.dtype == dtype && got.size() == shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == got[i];
  if (!fits) throw py::value_error(expected_got(name, describe(dtype, shape), describe(view.dtype, got)));
  if (!is_contiguous(view)) throw py::value_error(expected_got(name, "C order", "another one"));
}

template <typename T>
const T* input(const py::array& array, const std::string& name, DType dtype, const Shape& shape) {
  const ConstTensorView view = input_view(array, name);
  check_array(view, name, dtype, shape);
  return static_cast<const T*>(view.data);
}

template <typename T>
T* output(py::array array, const std::string& name, DType dtype, const Shape& shape) {
  const TensorView view = output_view(array, name);
  check_array(view, name, dtype, shape);
  return static_cast<T*>(view.data);
}

py::array array_item(const py::sequence& arrays, std::size_t index, const std::string& name) {
  const py::object item = arrays[index];
  if (!py::isinstance<py::array>(item)) throw py::type_error(expected_got(name, "arrays", "another type"));
  return py::reinterpret_borrow<py::array>(item);
}

// A record as plain data, with the fields of evsam/zoo.py.
py::dict variant_dict(const VariantConfig& config) {
  using py::literals::operator""_a;
  py::list stages;
  for (const std::vector<BlockConfig>& stage : config.stages) {
    py::list blocks;
    for (const BlockConfig& block : stage) {
      blocks.append(py::dict("kind"_a = rules_of(block.kind).name, "width"_a = block.width, "stride"_a = block.stride,
                             "expand"_a = block.expand, "filter_size"_a = block.filter_size,
                             "fewer_norm"_a = block.fewer_norm,
                             "attention_filter_size"_a = block.attention_filter_size));
    }
    stages.append(blocks);
  }
  const NeckConfig& neck = config.neck;
  const py::dict neck_dict("stages"_a = neck.stages, "width"_a = neck.width, "grid"_a = neck.grid,
                           "kind"_a = rules_of(neck.kind).name, "depth"_a = neck.depth, "expand"_a = neck.expand,
                           "lateral"_a = neck.lateral);
  const py::dict encoder("stages"_a = stages, "neck"_a = neck_dict,
                         "activation"_a = config.activation == Activation::gelu_tanh ? "gelu" : "relu6",
                         "head_dim"_a = config.head_dim);
  const DecoderConfig& decoder = config.decoder;
  const py::dict decoder_dict("kind"_a = decoder.lite ? "lite" : "sam", "dim"_a = decoder.dim,
                              "depth"_a = decoder.depth, "heads"_a = decoder.heads, "mlp_dim"_a = decoder.mlp_dim,
                              "mask_channels"_a = decoder.mask_channels);
  py::object everything = py::none();
  if (config.everything) {
    everything = py::dict("pred_iou_thresh"_a = config.everything->pred_iou_thresh,
                          "stability_score_thresh"_a = config.everything->stability_score_thresh);
  }
  return py::dict(
      "name"_a = config.name, "image_size"_a = config.image_size, "encoder"_a = encoder, "decoder"_a = decoder_dict,
      "mask_prompt"_a = kMaskPrompts[static_cast<std::size_t>(config.mask_prompt)], "everything"_a = everything);
}

VariantConfig checked_variant(const std::string& record) {
  VariantConfig config;
  check(read_variant(record, &config));
  return config;
}

void check_count(const std::vector<MapShape>& shapes, const py::sequence& features) {
  if (features.size() == shapes.size()) return;
  throw py::value_error(
      expected_got("features", std::to_string(shapes.size()) + " arrays", std::to_string(features.size())));
}

class BoundEngine {
 public:
  BoundEngine(const std::string& record, const py::dict& tensors, const py::object& threads,
              const std::string& precision, const py::set& mapped, std::optional<bool> packed_cache,
              const std::string& packed_folder, std::optional<std::size_t> packed_least) {
    const VariantConfig config = checked_variant(record);
    EngineOptions options;
    options.threads = thread_count(threads);
    options.precision = precision_of(precision);
    if (packed_cache) {
      options.packed_cache.use = *packed_cache ? PackedCacheOptions::Use::on : PackedCacheOptions::Use::off;
    }
    options.packed_cache.folder = packed_folder;
    options.packed_cache.least_bytes = packed_least.value_or(PackedCacheOptions::kLeastBytes);
    TensorTable table;
    for (const auto& item : tensors) {
      const std::string name = py::str(item.first);
      if (!py::isinstance<py::array>(item.second)) throw py::type_error(expected_got(name, "an array", "another type"));
      const ConstTensorView view = input_view(py::reinterpret_borrow<py::array>(item.second), name);
      StoredTensor tensor;
      tensor.dtype = view.dtype;
      tensor.shape.assign(view.shape, view.shape + view.ndim);
      tensor.data = view.data;
      tensor.mapped = mapped.contains(item.first);
      check_array(view, name, view.dtype, tensor.shape);
      table.add(name, std::move(tensor));
    }
    Status status;
    {
      const Unlocked unlocked;
      status = Engine::create(config, table, options, &engine_);
    }
    check(status);
  }

  py::list feature_shapes() const {
    py::list shapes;
    for (const MapShape& shape : engine_->feature_shapes()) {
      shapes.append(py::make_tuple(shape.channels, shape.height, shape.width));
    }
    return shapes;
  }

  void encode(const py::array& image, const py::sequence& features) const {
    ImageView view;
    view.data = input<std::uint8_t>(image, "image", DType::kUInt8, {-1, -1, 3});
    view.height = image.shape(0);
    view.width = image.shape(1);
    view.row_bytes = 3 * view.width;
    const std::vector<float*> maps = output_features(features);
    Status status;
    {
      const Unlocked unlocked;
      status = engine_->encode(view, maps.data());
    }
    check(status);
  }

  void encode_pixels(const py::array& pixels, const py::sequence& features) const {
    const std::int64_t side = engine_->config().image_size;
    const float* data = input<float>(pixels, "pixels", DType::kFloat32, {3, side, side});
    const std::vector<float*> maps = output_features(features);
    Status status;
    {
      const Unlocked unlocked;
      status = engine_->encode_pixels(data, maps.data());
    }
    check(status);
  }

  void decode(const py::sequence& features, const py::array& points, const py::array& labels, const py::object& masks,
              const py::array& logits, const py::array& scores, int first, float above) const {
    const std::vector<const float*> maps = input_features(*engine_, features);
    Prompts prompts;
    prompts.xy = input<float>(points, "points", DType::kFloat32, {-1, -1, 2});
    prompts.count = points.shape(0);
    prompts.points = points.shape(1);
    prompts.labels = input<std::int32_t>(labels, "labels", DType::kInt32, {prompts.count, prompts.points});
    if (!masks.is_none()) {
      prompts.masks = input<float>(py::cast<py::array>(masks), "masks", DType::kFloat32,
                                   {prompts.count, 1, kLogitsSize, kLogitsSize});
    }
    MaskFilter filter;
    filter.first = first;
    filter.above = above;
    float* out = output<float>(logits, "logits", DType::kFloat32, {prompts.count, -1, kLogitsSize, kLogitsSize});
    filter.count = static_cast<int>(std::min<std::int64_t>(logits.shape(1), kMaskTokens + 1));
    float* iou = output<float>(scores, "scores", DType::kFloat32, {prompts.count, kMaskTokens});
    Status status;
    {
      const Unlocked unlocked;
      status = engine_->decode(maps.data(), prompts, filter, out, iou);
    }
    check(status);
  }

  void masks(const py::array& logits, std::int64_t resized_height, std::int64_t resized_width,
             const py::array& out) const {
    const float* planes = input<float>(logits, "logits", DType::kFloat32, {-1, kLogitsSize, kLogitsSize});
    const std::int64_t count = logits.shape(0);
    std::uint8_t* bits = output<std::uint8_t>(out, "out", DType::kUInt8, {count, -1, -1});
    Status status;
    {
      const Unlocked unlocked;
      status = engine_->masks(planes, count, resized_height, resized_width, out.shape(1), out.shape(2), bits);
    }
    check(status);
  }

  void begin_profile() const { engine_->begin_profile(); }

  py::list end_profile() const {
    py::list rows;
    for (const ProfileRow& row : engine_->end_profile()) {
      py::dict entry;
      entry["name"] = row.name;
      entry["seconds"] = row.seconds;
      entry["macs"] = row.macs;
      entry["calls"] = row.calls;
      rows.append(entry);
    }
    return rows;
  }

  py::dict packed_cache() const {
    using py::literals::operator""_a;
    const PackedCacheReport& report = engine_->packed_cache();
    return py::dict("state"_a = packed_state_name(report.state), "path"_a = report.path, "problem"_a = report.problem);
  }

  int threads() const { return engine_->threads(); }
  const Engine& engine() const { return *engine_; }

 private:
  std::vector<float*> output_features(const py::sequence& features) const {
    const std::vector<MapShape>& shapes = engine_->feature_shapes();
    check_count(shapes, features);
    std::vector<float*> maps;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      maps.push_back(output<float>(array_item(features, i, "features"), "features", DType::kFloat32,
                                   {shapes[i].channels, shapes[i].height, shapes[i].width}));
    }
    return maps;
  }

  std::unique_ptr<Engine> engine_;
};

}  // namespace of_engine

const Engine& engine_of(const py::object& object) { return py::cast<const of_engine::BoundEngine&>(object).engine(); }

std::vector<const float*> input_features(const Engine& engine, const py::sequence& features) {
  using namespace of_engine;
  const std::vector<MapShape>& shapes = engine.feature_shapes();
  check_count(shapes, features);
  std::vector<const float*> maps;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    maps.push_back(input<float>(array_item(features, i, "features"), "features", DType::kFloat32,
                                {shapes[i].channels, shapes[i].height, shapes[i].width}));
  }
  return maps;
}

void bind_engine(py::module_& m) {
  using namespace of_engine;
  m.def(
      "read_variant", [](const std::string& record) { return variant_dict(checked_variant(record)); },
      py::arg("record"),
      "The record of a variant, JSON text as evsam.record writes it, checked: its fields as plain data, everything as "
      "None where the record does not tell.");
  py::class_<BoundEngine>(m, "Engine", "One model on the CPU; use it through evsam.load(engine='native').")
      .def(py::init<const std::string&, const py::dict&, const py::object&, const std::string&, const py::set&,
                    std::optional<bool>, const std::string&, std::optional<std::size_t>>(),
           py::arg("record"), py::arg("tensors"), py::kw_only(), py::arg("threads") = py::none(),
           py::arg("precision") = "fp32", py::arg("mapped") = py::set(), py::arg("packed_cache") = py::none(),
           py::arg("packed_folder") = "", py::arg("packed_least") = py::none(),
           "Packs the weights of the variant that a record describes (see read_variant), arrays in C order by name; "
           "they are not kept. `mapped`: names of those that lie in a "
           "read-only mapping of a file, whose pages are dropped when they have been read. `packed_cache`: whether to "
           "keep packed weights in packed_folder, or take them from there; None for what the environment says. "
           "`packed_least`: encoders with fewer bytes of weights are packed each time.")
      .def_property_readonly("packed_cache", &BoundEngine::packed_cache,
                             "What became of it: state (off, small, read, written or failed), path, problem.")
      .def_property_readonly("feature_shapes", &BoundEngine::feature_shapes,
                             "Shapes (C, H, W) of the embedding, then of the lateral maps.")
      .def_property_readonly("threads", &BoundEngine::threads, "Upper limit of threads.")
      .def("encode", &BoundEngine::encode, py::arg("image").noconvert(), py::arg("features"),
           "Encodes uint8 RGB (H, W, 3) into float32 arrays of feature_shapes.")
      .def("encode_pixels", &BoundEngine::encode_pixels, py::arg("pixels").noconvert(), py::arg("features"),
           "Encodes normalised float32 pixels (3, S, S).")
      .def("decode", &BoundEngine::decode, py::arg("features"), py::arg("points").noconvert(),
           py::arg("labels").noconvert(), py::arg("masks"), py::arg("logits").noconvert(),
           py::arg("scores").noconvert(), py::kw_only(), py::arg("first") = 0, py::arg("above") = MaskFilter().above,
           "Decodes N prompts into the scores (N, 4) and the logits (N, M, 256, 256) of M masks, the first of which is "
           "`first`. Planes of masks whose score is not above `above` are left alone.")
      .def("masks", &BoundEngine::masks, py::arg("logits").noconvert(), py::arg("resized_height"),
           py::arg("resized_width"), py::arg("out").noconvert(),
           "Masks uint8 (N, H, W) of logits (N, 256, 256), cropped to the resized size in the 1024 frame.")
      .def("begin_profile", &BoundEngine::begin_profile, "Clears the profile and begins to measure.")
      .def("end_profile", &BoundEngine::end_profile,
           "Rows (name, seconds, macs, calls) since begin_profile; measuring ends.");
}

}  // namespace evsam::bindings
