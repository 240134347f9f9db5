// A model as a list of steps on feature maps, and where each map lies in one arena.
//
// Built once per model: values are declared, then steps in the order in which they run. place_values() finds out from
// the steps how long each value lives and gives values that never live together the same memory; load() reads the
// weights and checks that every step's maps fit them. Running it checks and allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/feature_map.h"
#include "core/packed_archive.h"
#include "core/run_context.h"
#include "evsam/status.h"

namespace evsam {

class Graph {
 public:
  using Value = int;  // index of a feature map

  struct Shape {
    std::int64_t height;
    std::int64_t width;
    std::int64_t channels;
  };

  // The values as feature maps in an arena.
  class PlacedMaps {
   public:
    PlacedMaps(const Graph& graph, char* arena) : graph_(graph), arena_(arena) {}
    FeatureMap operator[](Value value) const;

   private:
    const Graph& graph_;
    char* arena_;
  };

  struct Step {
    std::string name;
    double macs = 0.0;           // of the definition, for profiles
    std::vector<Value> inputs;   // read; a value may be in both lists
    std::vector<Value> outputs;  // written
    // Reads and packs the step's weights; run by load(), side by side with those of other steps. May be empty.
    std::function<Status()> load;
    // The fields of what load() packs, where that is worth keeping in a file; else empty.
    std::function<void(PackedArchive&)> fields;
    // Whether the loaded step takes maps of these shapes; reads nothing in them. Empty: it takes all.
    std::function<Status(const PlacedMaps&)> check;
    std::function<std::size_t(int threads)> workspace_bytes;  // empty: none
    // The context's workspace is as large as was asked for.
    std::function<void(const RunContext&, const PlacedMaps&)> run;
  };

  Value add_value(const Shape& shape);
  const Shape& shape(Value value) const { return values_[static_cast<std::size_t>(value)].shape; }
  void add_step(Step step) { steps_.push_back(std::move(step)); }
  const std::vector<Step>& steps() const { return steps_; }

  // Values of `kept` live from their first step to the end.
  void place_values(const std::vector<Value>& kept);

  // The packed weights of all steps, to an archive or from one, where that is complete() then.
  void fields(PackedArchive& archive);

  // For placed values: loads and checks all steps with that many threads. The first error in the order of steps wins;
  // what a check says begins with the step's name. packed: steps whose fields() were read need no loading.
  Status load(int threads, bool packed = false);

  // Bytes of all values together, and of the largest workspace of any step.
  std::size_t values_bytes() const { return values_bytes_; }
  std::size_t workspace_bytes(int threads) const;

  // Called with each step's index and seconds, where a caller wants a profile.
  using Observer = std::function<void(std::size_t step, double seconds)>;

  // arena: values_bytes(), aligned. context.workspace: workspace_bytes(context.threads).
  void run(const RunContext& context, char* arena, const Observer* observer) const;

 private:
  struct ValueInfo {
    Shape shape;
    std::size_t bytes = 0;
    std::size_t offset = 0;
  };

  std::vector<ValueInfo> values_;
  std::vector<Step> steps_;
  std::size_t values_bytes_ = 0;
};

}  // namespace evsam
