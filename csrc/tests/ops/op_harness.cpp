#include "ops/op_harness.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "check.h"
#include "core/cpu.h"

namespace evsam::test {
namespace {

constexpr float kGuard = 12345.0F;  // fills what an op must not write

constexpr int kMaxThreads = 4;

// Of the runs with 1, 2, 3 and 4 threads.
using Gaps = std::array<std::int64_t, kMaxThreads>;

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "test_ops: %s\n", message.c_str());
  std::exit(2);
}

std::vector<OpTest>& op_tests() {
  static std::vector<OpTest> tests;
  return tests;
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::stringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
  return cells;
}

std::vector<Row> read_rows(const std::string& op) {
  const std::string path = std::string(EVSAM_CASES) + "/" + op + ".csv";
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) fail("expected a table in " + path + ", got none");
  const std::vector<std::string> columns = split(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = split(line);
    if (cells.size() != columns.size()) fail(path + ": expected a cell per column, got \"" + line + "\"");
    std::map<std::string, std::string> row;
    for (std::size_t i = 0; i < cells.size(); ++i) row[columns[i]] = cells[i];
    rows.emplace_back(row);
  }
  return rows;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void check_reach(const OpCase& op_case, const Spoiler& spoiler, const std::string& what) {
  std::int64_t wrong = -1;
  for (std::size_t o = 0; o < op_case.outputs.size(); ++o) {
    const std::vector<float> values = op_case.outputs[o].result();
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i) {
      const Reach reach = spoiler.reach(o, i);
      if (reach != Reach::either && std::isnan(values[size(i)]) != (reach == Reach::yes)) wrong = i;
    }
  }
  CHECK_MSG(wrong < 0, what + ": NaN at " + std::to_string(spoiler.index) + " of input " +
                           std::to_string(spoiler.input) + ", wrong at " + std::to_string(wrong));
}

void test_nan(OpCase& op_case, const std::string& what) {
  for (const Spoiler& spoiler : op_case.spoilers()) {
    float& value = op_case.inputs[spoiler.input].values[size(spoiler.index)];
    const float before = std::exchange(value, kNan);
    run_once(op_case, 2, 0, 0, what);
    check_reach(op_case, spoiler, what);
    value = before;
  }
}

// With every number of threads and in all places: the same bits, and right. Returns the results.
std::vector<float> test_runs(OpCase& op_case, const Expected& expected, const Gaps& gaps, const std::string& what) {
  std::vector<float> first;
  for (int threads = 1; threads <= kMaxThreads; ++threads) {
    for (std::size_t place = 0; place <= op_case.replaceable.size(); ++place) {
      const std::vector<float> got = run_once(op_case, threads, gaps[size(threads - 1)], place, what);
      if (first.empty()) {
        check_expected(got, expected, what);
        first = got;
      }
      CHECK_MSG(same_bits(first, got),
                what + ": other bits with " + std::to_string(threads) + " threads, place " + std::to_string(place));
    }
  }
  return first;
}

// What a case expects, found once unless it depends on the kernels.
class Expectation {
 public:
  explicit Expectation(OpCase& op_case) : case_(op_case) {
    if (!case_.expects_by_kernels()) expected_ = case_.expected();
  }

  const Expected& of(const Kernels& kernels, const std::string& what) {
    if (case_.expects_by_kernels()) {
      CHECK_MSG(case_.pack(kernels).ok(), what + ": pack");
      expected_ = case_.expected();
    }
    return expected_;
  }

 private:
  OpCase& case_;
  Expected expected_;
};

void test_row(const OpTest& op, const Row& row, const std::vector<const Kernels*>& all_kernels) {
  const std::unique_ptr<OpCase> op_case = op.make(row);
  Expectation expectation(*op_case);
  std::vector<float> everywhere;
  for (const Kernels* kernels : all_kernels) {
    const std::string what = std::string(op.op) + ", " + isa_name(kernels->isa) + ", " + row.text("name");
    const Expected& expected = expectation.of(*kernels, what);
    const std::vector<float> got = test_case(*op_case, expected, *kernels, what);
    if (everywhere.empty()) everywhere = got;
    if (op_case->same_bits_everywhere()) CHECK_MSG(same_bits(got, everywhere), what + ": other bits than elsewhere");
  }
}

// Median seconds of a call.
double time_call(OpCase& op_case, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto now = [] { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); };
  op_case.lay_out(0, 0);
  op_case.prepare();
  const DirtyWorkspace workspace(op_case.workspace_bytes(threads), threads);
  double start = now();
  op_case.run_timed(workspace.context);
  // Calls of microseconds are timed several at once.
  const int calls = static_cast<int>(std::clamp(1e-4 / (now() - start + 1e-9), 1.0, 1000.0));
  std::vector<double> samples;
  for (const double end = now() + seconds; now() < end || samples.size() < 5;) {
    start = now();
    for (int i = 0; i < calls; ++i) op_case.run_timed(workspace.context);
    samples.push_back((now() - start) / calls);
  }
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2), samples.end());
  return samples[samples.size() / 2];
}

struct Options {
  bool perf = false;
  bool check = true;
  int threads = 1;
  double seconds = 0.3;
  std::string op, isa, text;

  Options(int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
      const std::string name = arguments[i];
      const auto value = [&]() -> std::string {
        if (i + 1 == count) fail(name + ": expected a value, got none");
        return arguments[++i];
      };
      if (name == "--perf") {
        perf = true;
      } else if (name == "--no-check") {
        check = false;
      } else if (name == "--op") {
        op = value();
      } else if (name == "--isa") {
        isa = value();
      } else if (name == "--case") {
        text = value();
      } else if (name == "--threads") {
        threads = std::atoi(value().c_str());
        if (threads < 1) fail("--threads: expected a number >= 1, got " + std::to_string(threads));
      } else if (name == "--seconds") {
        seconds = std::atof(value().c_str());
      } else {
        fail("expected [--perf] [--op OP] [--isa ISA] [--case TEXT] [--threads N] [--seconds S] [--no-check], got " +
             name);
      }
    }
  }

  std::vector<const Kernels*> kernels() const {
    std::vector<const Kernels*> chosen;
    std::string names;
    for (const Kernels* each : runnable_kernels()) {
      if (isa.empty() || isa == isa_name(each->isa)) chosen.push_back(each);
      names += std::string(names.empty() ? "" : ", ") + isa_name(each->isa);
    }
    if (chosen.empty()) fail("--isa: expected one of " + names + ", got " + isa);
    return chosen;
  }

  // Whether the name has the text, from the beginning of a word on.
  bool wants(const Row& row) const {
    return row.flag(perf ? "timed" : "tested") && (" " + row.text("name")).find(" " + text) != std::string::npos;
  }
};

void time_row(const OpTest& op, const Row& row, const Options& options) {
  const std::unique_ptr<OpCase> op_case = op.make(row);
  std::unique_ptr<Expectation> expectation;
  if (options.check) expectation = std::make_unique<Expectation>(*op_case);
  for (const Kernels* kernels : options.kernels()) {
    const char* const isa = isa_name(kernels->isa);
    const std::string what = std::string(op.op) + ", " + isa + ", " + row.text("name");
    CHECK_MSG(op_case->pack(*kernels).ok(), what + ": pack");
    if (expectation != nullptr) {
      check_expected(run_once(*op_case, options.threads, 0, 0, what), expectation->of(*kernels, what), what);
    }
    const double seconds = time_call(*op_case, options.threads, options.seconds);
    char rate[32] = "-";  // ops without products
    if (row.real("flops") > 0.0) std::snprintf(rate, sizeof(rate), "%.2f", 1e-9 * row.real("flops") / seconds);
    std::printf("%-22s %-50s %-7s %10.4f %10s %8.2f\n", op.op, row.text("name").c_str(), isa, 1e3 * seconds, rate,
                1e-9 * row.real("bytes") / seconds);
    std::fflush(stdout);
  }
}

int run_all(const Options& options) {
  std::string names;
  bool known = options.op.empty();
  for (const OpTest& each : op_tests()) {
    known = known || options.op == each.op;
    names += std::string(names.empty() ? "" : ", ") + each.op;
  }
  if (!known) fail("--op: expected one of " + names + ", got " + options.op);
  if (options.perf) {
    std::printf("%-22s %-50s %-7s %10s %10s %8s\n", "op", "case", "isa", "ms", "GFLOP/s", "GB/s");
  }
  const std::vector<const Kernels*> all_kernels = options.kernels();
  std::size_t rows_run = 0;
  for (const OpTest& op : op_tests()) {
    if (!options.op.empty() && options.op != op.op) continue;
    for (const Row& row : op.make == nullptr ? std::vector<Row>() : read_rows(op.op)) {
      if (!options.wants(row)) continue;
      ++rows_run;
      if (options.perf) {
        time_row(op, row, options);
      } else {
        test_row(op, row, all_kernels);
      }
    }
    if (options.perf || !options.text.empty()) continue;
    for (const Kernels* kernels : all_kernels) {
      if (op.special != nullptr) op.special(*kernels);
    }
    if (op.once != nullptr) op.once();
  }
  if (rows_run == 0 && !options.text.empty())
    fail("--case: expected a part of a name in the table, got " + options.text);
  return test_result();
}

}  // namespace

const std::string& Row::text(const char* column) const {
  const auto found = cells_.find(column);
  if (found == cells_.end()) fail(std::string("expected a column ") + column + ", got none");
  return found->second;
}

std::int64_t Row::number(const char* column) const { return std::strtoll(text(column).c_str(), nullptr, 10); }

double Row::real(const char* column) const { return std::strtod(text(column).c_str(), nullptr); }

Activation Row::activation() const {
  const std::string& name = text("activation");
  if (name == "relu") return Activation::relu;
  if (name == "relu6") return Activation::relu6;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  if (name != "none") fail("activation: expected one of core/activation.h, got " + name);
  return Activation::none;
}

Precision Row::precision() const {
  const std::string& name = text("precision");
  Precision precision = Precision::fp32;
  if (!precision_named(name.c_str(), &precision)) fail("precision: expected one of core/precision.h, got " + name);
  return precision;
}

DirtyWorkspace::DirtyWorkspace(std::size_t bytes, int threads) {
  context.threads = threads;
  context.workspace_bytes = bytes;
  context.workspace = memory.reserve(bytes);
  if (bytes > 0) std::memset(context.workspace, 0xFF, bytes);
}

std::vector<float> Map::result() const {
  std::vector<float> numbers(size(pixels() * channels));
  for (std::int64_t p = 0; p < pixels(); ++p) {
    std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(p * (channels + gap)), channels,
                numbers.begin() + static_cast<std::ptrdiff_t>(p * channels));
  }
  return numbers;
}

void Map::allot(std::int64_t behind_pixels, float number) {
  gap = gaps ? behind_pixels : 0;
  data.assign(size(pixels() * (channels + gap) + 1), number);
}

void Map::fill(const std::vector<float>& numbers) {
  for (std::int64_t p = 0; p < pixels(); ++p) {
    std::copy_n(numbers.begin() + static_cast<std::ptrdiff_t>(p * channels), channels,
                data.begin() + static_cast<std::ptrdiff_t>(p * (channels + gap)));
  }
}

Map input(std::int64_t height, std::int64_t width, std::int64_t channels, unsigned seed, double scale) {
  Map map{height, width, channels, {}, true, 0, {}};
  map.values = random_floats(height * width * channels, seed, scale);
  return map;
}

Map output(std::int64_t height, std::int64_t width, std::int64_t channels) {
  return {height, width, channels, {}, true, 0, {}};
}

Reach window_reach(const Map& x, std::int64_t index, const Map& y, std::int64_t at, std::int64_t stride,
                   std::int64_t sure, std::int64_t most) {
  const std::int64_t from = index / x.channels;
  const std::int64_t to = at / y.channels;
  const std::int64_t rows = std::abs(to / y.width * stride - from / x.width);
  const std::int64_t columns = std::abs(to % y.width * stride - from % x.width);
  if (rows <= sure && columns <= sure) return Reach::yes;
  return rows > most || columns > most ? Reach::no : Reach::either;
}

void OpCase::lay_out(std::int64_t gap, std::size_t place) {
  gap_ = gap;
  over_ = place == 0 ? -1 : static_cast<std::int64_t>(replaceable[place - 1]);
  for (Map& map : inputs) {
    map.allot(gap, kNan);
    map.fill(map.values);
  }
  for (Map& map : outputs) map.allot(gap, kGuard);
  if (place > 0) outputs[0].fill(inputs[size(over_)].values);
}

ConstFeatureMap OpCase::in(std::size_t index) const {
  return over_ == static_cast<std::int64_t>(index) ? outputs[0].view() : inputs[index].view();
}

Spoiler OpCase::window_spoiler(std::int64_t stride, std::int64_t sure, std::int64_t most) const {
  return {0, middle(), [this, stride, sure, most](std::size_t output, std::int64_t at) {
            return window_reach(inputs[0], middle(), outputs[output], at, stride, sure, most);
          }};
}

std::vector<float> OpCase::results() const {
  std::vector<float> all;
  for (const Map& map : outputs) {
    const std::vector<float> values = map.result();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

bool OpCase::gaps_untouched() const {
  for (const Map& map : outputs) {
    const std::int64_t stride = map.channels + map.gap;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(map.data.size()); ++i) {
      const bool inside = i < map.pixels() * stride && i % stride < map.channels;
      if (!inside && map.data[size(i)] != kGuard) return false;
    }
  }
  return true;
}

std::vector<float> run_once(OpCase& op_case, int threads, std::int64_t gap, std::size_t place,
                            const std::string& what) {
  op_case.lay_out(gap, place);
  op_case.prepare();
  const Status status = op_case.validate();
  CHECK_MSG(status.ok(), what + ": " + status.message());
  const DirtyWorkspace workspace(op_case.workspace_bytes(threads), threads);
  op_case.run(workspace.context);
  op_case.finish();
  CHECK_MSG(op_case.gaps_untouched(), what + ": wrote between pixels");
  return op_case.results();
}

std::vector<float> test_case(OpCase& op_case, const Expected& expected, const Kernels& kernels,
                             const std::string& what) {
  const Status status = op_case.pack(kernels);
  CHECK_MSG(status.ok(), what + ": " + status.message());
  if (!status.ok()) return {};
  if (op_case.gaps_change_bits()) test_runs(op_case, expected, {3, 3, 3, 3}, what);
  const Gaps gaps = op_case.gaps_change_bits() ? Gaps{} : Gaps{0, 3, 1, 8};
  std::vector<float> got = test_runs(op_case, expected, gaps, what);
  test_nan(op_case, what);
  return got;
}

void check_expected(const std::vector<float>& got, const Expected& expected, const std::string& what) {
  double worst = 0.0;
  double squares = 0.0;
  for (std::size_t i = 0; i < std::min(got.size(), expected.values.size()); ++i) {
    const double bound = expected.sizes[expected.sizes.size() == 1 ? 0 : i];
    double error = std::abs(static_cast<double>(got[i]) - expected.values[i]) / (bound + 1e-30) * 0x1p24;
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    worst = std::max(worst, error);
    squares += error * error;
  }
  const double rms = got.empty() ? 0.0 : std::sqrt(squares / static_cast<double>(got.size()));
  CHECK_MSG(got.size() == expected.values.size(), what + ": expected " + std::to_string(expected.values.size()) +
                                                      " numbers, got " + std::to_string(got.size()));
  CHECK_MSG(worst <= expected.roundings,
            what + ": error " + std::to_string(worst) + " roundings, at most " + std::to_string(expected.roundings));
  CHECK_MSG(rms <= expected.rms_roundings, what + ": root mean square " + std::to_string(rms) + " roundings, at most " +
                                               std::to_string(expected.rms_roundings));
}

std::vector<float> random_weights(std::int64_t count, std::int64_t inputs, unsigned seed) {
  return random_floats(count, seed, 1.0 / std::sqrt(static_cast<double>(inputs)));
}

std::vector<float> random_bias(const Row& row, std::int64_t count, unsigned seed, double scale) {
  return row.flag("bias") ? random_floats(count, seed, scale) : std::vector<float>();
}

std::vector<float> to_panels(const std::vector<float>& cells, std::int64_t channels, std::int64_t panel) {
  const std::int64_t count = static_cast<std::int64_t>(cells.size()) / channels;
  std::vector<float> panels(size((count + panel - 1) / panel * panel * channels), kNan);
  for (std::int64_t cell = 0; cell < count; ++cell) {
    for (std::int64_t c = 0; c < channels; ++c) {
      panels[size((cell / panel * channels + c) * panel + cell % panel)] = cells[size(cell * channels + c)];
    }
  }
  return panels;
}

std::vector<float> from_panels(const std::vector<float>& panels, std::int64_t cells, std::int64_t channels,
                               std::int64_t panel) {
  std::vector<float> result(size(cells * channels));
  for (std::int64_t cell = 0; cell < cells; ++cell) {
    for (std::int64_t c = 0; c < channels; ++c) {
      result[size(cell * channels + c)] = panels[size((cell / panel * channels + c) * panel + cell % panel)];
    }
  }
  return result;
}

void expect_message(const Status& status, const std::string& message, const char* file, int line) {
  report(status.code() == StatusCode::kInvalidArgument && status.message() == message, file, line,
         "expected \"" + message + "\", got \"" + status.message() + "\"");
}

OpTest::OpTest(const char* op_name, std::unique_ptr<OpCase> (*make_case)(const Row& row),
               void (*special_checks)(const Kernels& kernels), void (*checks_once)())
    : op(op_name), make(make_case), special(special_checks), once(checks_once) {
  op_tests().push_back(*this);
}

}  // namespace evsam::test

int main(int count, char** arguments) { return evsam::test::run_all(evsam::test::Options(count, arguments)); }
