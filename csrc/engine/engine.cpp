#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/environment.h"
#include "core/workspace.h"
#include "engine/arena_pool.h"
#include "engine/encoder.h"
#include "masks/scan.h"
#include "ops/mask_upsample/mask_upsample.h"
#include "ops/preprocess/preprocess.h"
#include "ops/transpose/transpose.h"

namespace evsam {
namespace {

preprocess::Photo as_photo(const ImageView& image) { return {image.data, image.height, image.width, image.row_bytes}; }

// What the encoder makes must be what the decoder reads; weights alone do not tell.
Status check_features(const std::vector<MapShape>& made, const std::vector<MapShape>& read) {
  const auto same = [](const MapShape& a, const MapShape& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
  };
  if (std::equal(made.begin(), made.end(), read.begin(), read.end(), same)) return {};
  const auto names = [](const std::vector<MapShape>& shapes) {
    std::string text;
    for (const MapShape& shape : shapes) {
      text +=
          (text.empty() ? "" : ", ") + shape_string(std::vector{shape.channels, shape.height, shape.width}.data(), 3);
    }
    return text;
  };
  return Status::invalid_argument(expected_got("features", names(read) + " for the decoder", names(made)));
}

// Times of named parts, summed over calls. Off by default, when it costs one atomic load per call.
class Profiler {
 public:
  bool on() const { return on_.load(std::memory_order_relaxed); }

  void begin() {
    const std::lock_guard<std::mutex> lock(mutex_);
    rows_.clear();
    on_.store(true, std::memory_order_relaxed);
  }

  std::vector<ProfileRow> end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    on_.store(false, std::memory_order_relaxed);
    return std::move(rows_);
  }

  void add(const std::string& name, double seconds, double macs) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (ProfileRow& row : rows_) {
      if (row.name != name) continue;
      row.seconds += seconds;
      ++row.calls;
      return;
    }
    rows_.push_back({name, seconds, macs, 1});
  }

  // Adds the time from its construction to its end, if the profiler was on by then.
  class Scope {
   public:
    Scope(Profiler& profiler, const char* name) : profiler_(profiler.on() ? &profiler : nullptr), name_(name) {
      if (profiler_ != nullptr) start_ = std::chrono::steady_clock::now();
    }
    ~Scope() {
      if (profiler_ == nullptr) return;
      profiler_->add(name_, std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(), 0.0);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Profiler* profiler_;
    const char* name_;
    std::chrono::steady_clock::time_point start_;
  };

 private:
  std::atomic<bool> on_{false};
  std::mutex mutex_;
  std::vector<ProfileRow> rows_;
};

}  // namespace

struct Engine::Impl {
  VariantConfig config;
  int threads = 0;
  bool encodes = false;
  PackedWeights packed;  // what the encoder reads
  Encoder encoder;       // empty where it does not
  std::unique_ptr<Decoder> decoder;
  std::vector<MapShape> shapes;
  const Kernels* kernels = nullptr;
  ArenaPool arenas;
  ArenaPool tables;  // of masks(): how large the arena must be is known once they are there
  Profiler profiler;

  int thread_count() const { return threads_or_default(threads); }

  RunContext context(char* workspace, std::size_t bytes) const {
    RunContext context;
    context.threads = thread_count();
    context.workspace = workspace;
    context.workspace_bytes = bytes;
    return context;
  }

  // Borrows an arena for the encoder, has `fill` write the pixels, runs the graph and hands out the maps.
  template <typename Fill>
  Status encode(std::size_t fill_bytes, const Fill& fill, float* const* features) {
    if (!encodes) {
      return Status::unavailable(expected_got("model", "one that encodes", "the weights of a decoder alone"));
    }
    const Graph& graph = encoder.graph;
    const std::size_t values = align_up(graph.values_bytes());
    const std::size_t workspace = std::max(graph.workspace_bytes(thread_count()), align_up(fill_bytes));
    ArenaPool::Lease arena = arenas.borrow(values + workspace);
    const RunContext run = context(arena.data() + values, workspace);
    const Graph::PlacedMaps maps(graph, arena.data());
    {
      const Profiler::Scope scope(profiler, "photo to pixels");
      fill(run, maps[encoder.pixels].data);
    }
    if (profiler.on()) {
      const Graph::Observer observer = [&](std::size_t step, double seconds) {
        profiler.add(graph.steps()[step].name, seconds, graph.steps()[step].macs);
      };
      graph.run(run, arena.data(), &observer);
    } else {
      graph.run(run, arena.data(), nullptr);
    }
    const Profiler::Scope scope(profiler, "maps to channels first");
    for (std::size_t i = 0; i < encoder.maps.size(); ++i) {
      transpose::to_channels_first(*kernels->transpose, run, as_const(maps[encoder.maps[i]]), features[i]);
    }
    return {};
  }
};

Engine::Engine() : impl_(std::make_unique<Impl>()) {}
Engine::~Engine() = default;

Status Engine::create(const VariantConfig& config, const TensorTable& tensors, const EngineOptions& options,
                      std::unique_ptr<Engine>* engine) try {
  std::unique_ptr<Engine> made(new Engine());
  Impl& impl = *made->impl_;
  impl.config = config;
  impl.threads = std::max(options.threads, 0);
  int threads = 0;
  EVSAM_RETURN_IF_ERROR(threads_of_environment(&threads));
  EVSAM_RETURN_IF_ERROR(selected_kernels(&impl.kernels));
  impl.encodes = tensors.has_any(kEncoderTensors);
  if (impl.encodes) {
    make_encoder(config, tensors, options.precision, &impl.encoder);
    EVSAM_RETURN_IF_ERROR(impl.packed.load(options.packed_cache, config, tensors, options.precision,
                                           impl.thread_count(), &impl.encoder.graph));
  }
  EVSAM_RETURN_IF_ERROR(config.decoder.lite ? make_lite_decoder(config, tensors, options.precision, &impl.decoder)
                                            : make_sam_decoder(config, tensors, options.precision, &impl.decoder));
  impl.shapes = impl.decoder->feature_shapes();
  if (impl.encodes) {
    std::vector<MapShape> made_shapes;
    for (Graph::Value map : impl.encoder.maps) {
      const Graph::Shape& shape = impl.encoder.graph.shape(map);
      made_shapes.push_back({shape.channels, shape.height, shape.width});
    }
    EVSAM_RETURN_IF_ERROR(check_features(made_shapes, impl.shapes));
  }
  *engine = std::move(made);
  return {};
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

const VariantConfig& Engine::config() const { return impl_->config; }
int Engine::threads() const { return impl_->thread_count(); }
bool Engine::encodes() const { return impl_->encodes; }
const std::vector<MapShape>& Engine::feature_shapes() const { return impl_->shapes; }

Status Engine::encode(const ImageView& image, float* const* features) const try {
  const preprocess::Photo photo = as_photo(image);
  const std::int64_t side = impl_->config.image_size;
  EVSAM_RETURN_IF_ERROR(preprocess::validate(photo, side));
  return impl_->encode(
      preprocess::workspace_bytes(image.height, image.width, side, impl_->thread_count()),
      [&](const RunContext& context, float* pixels) {
        preprocess::run(*impl_->kernels->preprocess, context, photo, side, pixels);
      },
      features);
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

Status Engine::encode_pixels(const float* pixels, float* const* features) const try {
  const std::int64_t side = impl_->config.image_size;
  return impl_->encode(
      0,
      [&](const RunContext& context, float* to) {
        transpose::to_channels_last(*impl_->kernels->transpose, context, pixels, feature_map(to, side, side, 3));
      },
      features);
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

Status Engine::decode(const float* const* features, const Prompts& prompts, const MaskFilter& filter, float* logits,
                      float* iou) const try {
  EVSAM_RETURN_IF_ERROR(validate(filter));
  for (std::int64_t i = 0; i < prompts.count * prompts.points; ++i) {
    if (prompts.labels[i] < -1 || prompts.labels[i] > 3) {
      return Status::invalid_argument(
          expected_got("labels", "numbers from -1 to 3", std::to_string(prompts.labels[i])));
    }
  }
  if (prompts.count == 0) return {};
  const std::size_t bytes = align_up(impl_->decoder->workspace_bytes(prompts, impl_->thread_count()));
  ArenaPool::Lease arena = impl_->arenas.borrow(bytes);
  const Profiler::Scope scope(impl_->profiler, "prompts and decoder");
  impl_->decoder->decode(impl_->context(arena.data(), bytes), features, prompts, filter, logits, iou);
  return {};
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

Status Engine::masks(const float* logits, std::int64_t count, std::int64_t resized_height, std::int64_t resized_width,
                     std::int64_t original_height, std::int64_t original_width, std::uint8_t* masks) const try {
  const mask_upsample::Params params{count, resized_height, resized_width, original_height, original_width};
  EVSAM_RETURN_IF_ERROR(mask_upsample::validate(params));
  const mask_upsample::Kernel& kernel = *impl_->kernels->mask_upsample;
  const Profiler::Scope scope(impl_->profiler, "masks at the photo's size");
  // Most of a mask is far from its outline, where the scanner needs no upscaled logits.
  ArenaPool::Lease tables = impl_->tables.borrow(masks::Scanner::table_bytes(params));
  const masks::Scanner scanner(kernel, params, tables.data());
  const std::int64_t bands = scanner.bands();
  const std::size_t each = align_up(scanner.workspace_bytes());
  const std::size_t bytes = each * static_cast<std::size_t>(impl_->thread_count());
  ArenaPool::Lease arena = impl_->arenas.borrow(bytes);
  impl_->context(arena.data(), bytes).parallel_for(count * bands, [&](std::int64_t task, int worker) {
    const std::int64_t i = task / bands;
    scanner.paint(task % bands, logits + i * kLogitsSize * kLogitsSize, 0.0F,
                  arena.data() + static_cast<std::size_t>(worker) * each, masks + i * original_height * original_width);
  });
  return {};
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

void Engine::begin_profile() const { impl_->profiler.begin(); }
std::vector<ProfileRow> Engine::end_profile() const { return impl_->profiler.end(); }
const PackedCacheReport& Engine::packed_cache() const { return impl_->packed.report(); }
std::size_t Engine::arena_bytes() const { return impl_->arenas.bytes() + impl_->tables.bytes(); }

}  // namespace evsam
