#include "engine/graph.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "core/workspace.h"

namespace evsam {
namespace {

Status named(const std::string& name, const Status& status) {
  return status.ok() ? status : Status::invalid_argument(name + ": " + status.message());
}

}  // namespace

FeatureMap Graph::PlacedMaps::operator[](Value value) const {
  const ValueInfo& info = graph_.values_[static_cast<std::size_t>(value)];
  return feature_map(reinterpret_cast<float*>(arena_ + info.offset), info.shape.height, info.shape.width,
                     info.shape.channels);
}

Graph::Value Graph::add_value(const Shape& shape) {
  ValueInfo info;
  info.shape = shape;
  info.bytes = align_up(static_cast<std::size_t>(shape.height * shape.width * shape.channels) * sizeof(float));
  values_.push_back(info);
  return static_cast<Value>(values_.size()) - 1;
}

void Graph::fields(PackedArchive& archive) {
  for (const Step& step : steps_) {
    if (!step.fields) continue;
    archive.begin(step.name);
    step.fields(archive);
  }
}

Status Graph::load(int threads, bool packed) {
  std::vector<Status> results(steps_.size());
  const PlacedMaps maps(*this, static_cast<char*>(nowhere()));
  // The most expensive steps first, so that none of them is left for the end. The cost of packing grows with the
  // weights, which nobody knows yet; late steps have more channels, and so more weights.
  default_pool().parallel_for(static_cast<std::int64_t>(steps_.size()), threads, [&](std::int64_t task, int) {
    const std::size_t step = steps_.size() - 1 - static_cast<std::size_t>(task);
    if (steps_[step].load && !(packed && steps_[step].fields)) results[step] = steps_[step].load();
    if (results[step].ok() && steps_[step].check) results[step] = named(steps_[step].name, steps_[step].check(maps));
  });
  for (Status& result : results) {
    if (!result.ok()) return result;
  }
  return {};
}

void Graph::place_values(const std::vector<Value>& kept) {
  // Lifetimes: from the first to the last step that names the value.
  struct Life {
    int first = -1;
    int last = -1;
  };
  std::vector<Life> lives(values_.size());
  for (int step = 0; step < static_cast<int>(steps_.size()); ++step) {
    for (const std::vector<Value>* list :
         {&steps_[static_cast<std::size_t>(step)].inputs, &steps_[static_cast<std::size_t>(step)].outputs}) {
      for (Value value : *list) {
        Life& life = lives[static_cast<std::size_t>(value)];
        if (life.first < 0) life.first = step;
        life.last = step;
      }
    }
  }
  for (Value value : kept) lives[static_cast<std::size_t>(value)].last = static_cast<int>(steps_.size());

  // Largest first, each at the lowest offset where it meets no placed value that lives at the same time.
  std::vector<std::size_t> order(values_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values_[a].bytes > values_[b].bytes; });
  std::vector<std::size_t> placed;  // by offset
  values_bytes_ = 0;
  for (std::size_t value : order) {
    std::size_t offset = 0;
    for (std::size_t other : placed) {
      const bool together = lives[value].first <= lives[other].last && lives[other].first <= lives[value].last;
      if (!together) continue;
      if (offset + values_[value].bytes <= values_[other].offset) break;
      offset = std::max(offset, values_[other].offset + values_[other].bytes);
    }
    values_[value].offset = offset;
    values_bytes_ = std::max(values_bytes_, offset + values_[value].bytes);
    const auto behind = std::upper_bound(placed.begin(), placed.end(), value, [&](std::size_t a, std::size_t b) {
      return values_[a].offset < values_[b].offset;
    });
    placed.insert(behind, value);
  }
}

std::size_t Graph::workspace_bytes(int threads) const {
  std::size_t bytes = 0;
  for (const Step& step : steps_) {
    if (step.workspace_bytes) bytes = std::max(bytes, step.workspace_bytes(threads));
  }
  return align_up(bytes);
}

void Graph::run(const RunContext& context, char* arena, const Observer* observer) const {
  using Clock = std::chrono::steady_clock;
  const PlacedMaps maps(*this, arena);
  if (observer == nullptr) {
    for (const Step& step : steps_) step.run(context, maps);
    return;
  }
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Clock::time_point start = Clock::now();
    steps_[i].run(context, maps);
    (*observer)(i, std::chrono::duration<double>(Clock::now() - start).count());
  }
}

}  // namespace evsam
