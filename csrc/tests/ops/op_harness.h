// What the tests and benchmarks of all CPU ops have in common. The file of an op says how to make a call from a row of
// its table (cases/<op>.csv, written by `python -m benchmarks.cases`), how to pack and run it, what is right and how
// exact; the harness runs every row on all kernels of this machine:
//
//   test_ops [--op OP] [--case TEXT] [--isa ISA]            with 1 to 4 threads, gaps of NaN, in place, a NaN inside
//   test_ops --perf [...] [--threads N] [--no-check]        median time, GFLOP/s and GB/s
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/activation.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/precision.h"
#include "core/run_context.h"
#include "core/workspace.h"
#include "evsam/status.h"
#include "test_data.h"

namespace evsam::test {

inline std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

inline std::vector<double> magnitudes(const std::vector<float>& values) {
  std::vector<double> result(values.begin(), values.end());
  for (double& value : result) value = value < 0.0 ? -value : value;
  return result;
}

// The data of what may be left out.
template <typename T>
const T* or_null(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

// A row of the table. A column that it does not have ends the program, with its name.
class Row {
 public:
  explicit Row(std::map<std::string, std::string> cells) : cells_(std::move(cells)) {}

  const std::string& text(const char* column) const;
  std::int64_t number(const char* column) const;
  double real(const char* column) const;
  bool flag(const char* column) const { return number(column) != 0; }
  Activation activation() const;
  Precision precision() const;

 private:
  std::map<std::string, std::string> cells_;
};

// A map that is laid out anew for each run, with other gaps behind its pixels. What is not a feature map is one whose
// pixels are its rows.
struct Map {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<float> values;  // of an input; (pixels, channels)
  bool gaps = true;           // whether pixels may lie apart
  std::int64_t gap = 0;
  std::vector<float> data;  // with one float more behind all pixels

  std::int64_t pixels() const { return height * width; }
  FeatureMap map() { return {data.data(), height, width, channels, channels + gap}; }
  ConstFeatureMap view() const { return {data.data(), height, width, channels, channels + gap}; }
  // Makes room, full of one number, and puts (pixels, channels) into it.
  void allot(std::int64_t behind_pixels, float number);
  void fill(const std::vector<float>& numbers);
  // What the pixels hold now, (pixels, channels).
  std::vector<float> result() const;
};

Map input(std::int64_t height, std::int64_t width, std::int64_t channels, unsigned seed, double scale = 1.0);
Map output(std::int64_t height, std::int64_t width, std::int64_t channels);

// What is right, of all outputs one after the other. An error may be `roundings` half units in the last place of its
// size, and the root mean square of all errors `rms_roundings`.
struct Expected {
  std::vector<double> values;
  std::vector<double> sizes;  // one per value, or one for all
  double roundings = 0.0;
  double rms_roundings = std::numeric_limits<double>::infinity();
};

// Whether a NaN in an input gets into a number of the output.
enum class Reach { no, yes, either };

// A number of an input that is made NaN, and where it gets to: reach(output, index in the output).
struct Spoiler {
  std::size_t input;
  std::int64_t index;
  std::function<Reach(std::size_t, std::int64_t)> reach;
};

// For convolutions: whether what is at `index` of x gets to number `at` of y. Within `sure` pixels of x it does, beyond
// `most` not.
Reach window_reach(const Map& x, std::int64_t index, const Map& y, std::int64_t at, std::int64_t stride,
                   std::int64_t sure, std::int64_t most);

// One row: a call with its inputs. What a file of an op derives from it is everything the harness does not know.
class OpCase {
 public:
  virtual ~OpCase() = default;

  virtual Expected expected() const = 0;
  // run() uses these kernels from here on.
  virtual Status pack(const Kernels& kernels) = 0;
  virtual std::size_t workspace_bytes(int /*threads*/) const { return 0; }
  // For ops whose kernels have a layout of their own: from the inputs to it, and from it to the outputs.
  virtual void prepare() {}
  virtual void finish() {}
  virtual Status validate() { return {}; }
  virtual void run(const RunContext& context) = 0;
  // What a benchmark times: run(), unless that does more than one call.
  virtual void run_timed(const RunContext& context) { run(context); }
  virtual std::vector<Spoiler> spoilers() const { return {}; }
  // Whether bits may depend on gaps: the tail of a vector may be another pixel's numbers or none.
  virtual bool gaps_change_bits() const { return false; }
  // Whether what is expected depends on the kernels that pack() was given; expected() is called behind it then.
  virtual bool expects_by_kernels() const { return false; }
  // Whether the kernels of all instruction sets give the same bits.
  virtual bool same_bits_everywhere() const { return false; }

  std::vector<Map> inputs;
  std::vector<Map> outputs;
  std::vector<std::size_t> replaceable;  // inputs over which the first output may be laid

  // Lays everything out: the first output over input replaceable[place - 1], or apart with place 0.
  void lay_out(std::int64_t gap, std::size_t place);
  std::int64_t gap() const { return gap_; }
  std::int64_t middle(std::size_t index = 0) const {
    return static_cast<std::int64_t>(inputs[index].values.size() / 2);
  }
  // Of the middle of the first input, and pixels of the outputs around it.
  Spoiler window_spoiler(std::int64_t stride, std::int64_t sure, std::int64_t most) const;
  // An input as it is read: where it was laid out, which may be where the first output is.
  ConstFeatureMap in(std::size_t index) const;
  FeatureMap out(std::size_t index = 0) { return outputs[index].map(); }
  // All outputs, one after the other.
  std::vector<float> results() const;
  // Nothing was written between pixels and behind the last one.
  bool gaps_untouched() const;

 private:
  std::int64_t gap_ = 0;
  std::int64_t over_ = -1;
};

// A workspace full of NaN: what is read before it is written shows.
struct DirtyWorkspace {
  Workspace memory;
  RunContext context;

  DirtyWorkspace(std::size_t bytes, int threads);
};

// Runs once with inputs laid out, in memory full of NaN, and returns the results. Failures are reported as those of
// `what`.
std::vector<float> run_once(OpCase& op_case, int threads, std::int64_t gap, std::size_t place, const std::string& what);

// Everything that one row is tested for, on these kernels. Returns the results.
std::vector<float> test_case(OpCase& op_case, const Expected& expected, const Kernels& kernels,
                             const std::string& what);

// Reports if a result is further from what is right than it may be.
void check_expected(const std::vector<float>& got, const Expected& expected, const std::string& what);

// Weights as large as keeps sums over `inputs` numbers as large as these.
std::vector<float> random_weights(std::int64_t count, std::int64_t inputs, unsigned seed);
// Nothing in rows without.
std::vector<float> random_bias(const Row& row, std::int64_t count, unsigned seed, double scale = 1.0);

// The panels of ops/two_way_attention, [panel][channel][cell in panel], with NaN behind the last cell.
std::vector<float> to_panels(const std::vector<float>& cells, std::int64_t channels, std::int64_t panel);
std::vector<float> from_panels(const std::vector<float>& panels, std::int64_t cells, std::int64_t channels,
                               std::int64_t panel);

// What `op::Params` and the like are checked with: the status must be kInvalidArgument with this message.
void expect_message(const Status& status, const std::string& message, const char* file, int line);

// An op. `make` is nullptr where there is no table; `special`, where given, are checks of its own on each table of
// kernels; `once` those that need none.
struct OpTest {
  const char* op;
  std::unique_ptr<OpCase> (*make)(const Row& row);
  void (*special)(const Kernels& kernels);
  void (*once)();

  OpTest(const char* op_name, std::unique_ptr<OpCase> (*make_case)(const Row& row),
         void (*special_checks)(const Kernels& kernels), void (*checks_once)());
};

template <typename Case>
std::unique_ptr<OpCase> make_case(const Row& row) {
  return std::make_unique<Case>(row);
}

}  // namespace evsam::test

#define EXPECT_MESSAGE(status, message) ::evsam::test::expect_message((status), (message), __FILE__, __LINE__)
