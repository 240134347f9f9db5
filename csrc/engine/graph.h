// A model as a list of steps on feature maps, and the plan of where each map lies in one arena.
//
// Built once per model: values are declared, then steps in the order in which they run. plan() finds out from the steps
// how long each value lives and gives values that never live together the same memory. Running it allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/feature_map.h"
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

  // What a step gets when it runs: its maps, and a context whose workspace is as large as it asked for.
  class Maps {
   public:
    Maps(const Graph& graph, char* arena) : graph_(graph), arena_(arena) {}
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
    std::function<std::size_t(int threads)> workspace_bytes;  // empty: none
    std::function<void(const RunContext&, const Maps&)> run;
  };

  Value add_value(const Shape& shape);
  const Shape& shape(Value value) const { return values_[static_cast<std::size_t>(value)].shape; }
  void add_step(Step step) { steps_.push_back(std::move(step)); }
  const std::vector<Step>& steps() const { return steps_; }

  // Loads the weights of all steps with that many threads; the first error in the order of steps wins.
  Status load(int threads);

  // Places all values. Values of `kept` live from their first step to the end.
  void plan(const std::vector<Value>& kept);

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
