// Where values lie: those that live together never share bytes, others do. Errors of loading come in order, and a step
// whose maps do not fit is one.
#include "engine/graph.h"

#include <vector>

#include "check.h"
#include "engine/blocks.h"

namespace {

using evsam::Graph;
using evsam::Status;

Graph::Step step(std::vector<Graph::Value> inputs, std::vector<Graph::Value> outputs) {
  Graph::Step s;
  s.name = "step";
  s.inputs = std::move(inputs);
  s.outputs = std::move(outputs);
  return s;
}

bool apart(const evsam::FeatureMap& a, const evsam::FeatureMap& b) {
  return a.data + a.pixels() * a.channels <= b.data || b.data + b.pixels() * b.channels <= a.data;
}

void test_chain_needs_two_buffers() {
  Graph graph;
  std::vector<Graph::Value> chain;
  for (int i = 0; i < 6; ++i) chain.push_back(graph.add_value({8, 8, 16}));
  for (int i = 0; i + 1 < 6; ++i) {
    graph.add_step(step({chain[static_cast<std::size_t>(i)]}, {chain[static_cast<std::size_t>(i) + 1]}));
  }
  graph.place_values({});
  CHECK(graph.values_bytes() == 2 * 8 * 8 * 16 * sizeof(float));
}

void test_skip_connection_survives() {
  // 0 -> 1 -> 2 -> 3, and 0 is read again by the last step.
  Graph graph;
  const Graph::Value a = graph.add_value({4, 4, 8});
  const Graph::Value b = graph.add_value({4, 4, 32});
  const Graph::Value c = graph.add_value({2, 2, 8});
  const Graph::Value d = graph.add_value({4, 4, 8});
  graph.add_step(step({a}, {b}));
  graph.add_step(step({b}, {c}));
  graph.add_step(step({c, a}, {d}));
  graph.place_values({d});
  std::vector<char> arena(graph.values_bytes());
  const Graph::PlacedMaps maps(graph, arena.data());
  CHECK(apart(maps[a], maps[b]));
  CHECK(apart(maps[a], maps[c]));
  CHECK(apart(maps[b], maps[c]));
  CHECK(apart(maps[a], maps[d]));
  CHECK(apart(maps[c], maps[d]));
  CHECK(maps[d].channels == 8 && maps[d].pixels() == 16 && maps[d].stride == 8);
}

void test_kept_values_are_not_overwritten() {
  for (const bool kept : {false, true}) {
    Graph graph;
    std::vector<Graph::Value> chain;
    for (int i = 0; i < 4; ++i) chain.push_back(graph.add_value({4, 4, 8}));
    const Graph::Value a = chain[0], b = chain[1], c = chain[2], d = chain[3];
    graph.add_step(step({a}, {b}));
    graph.add_step(step({b}, {c}));
    graph.add_step(step({c}, {d}));
    graph.place_values(kept ? std::vector<Graph::Value>{b, d} : std::vector<Graph::Value>{d});
    std::vector<char> arena(graph.values_bytes());
    const Graph::PlacedMaps maps(graph, arena.data());
    CHECK(!apart(maps[a], maps[c]));
    CHECK(apart(maps[b], maps[d]) == kept);  // no step reads b when d is written: only being kept sets them apart
  }
}

void test_steps_run_in_order_with_the_largest_workspace() {
  Graph graph;
  const Graph::Value a = graph.add_value({1, 1, 4});
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) {
    Graph::Step s = step({}, {a});
    s.workspace_bytes = [i](int threads) { return static_cast<std::size_t>(100 * i * threads); };
    s.run = [i, &order](const evsam::RunContext&, const Graph::PlacedMaps&) { order.push_back(i); };
    graph.add_step(std::move(s));
  }
  graph.place_values({a});
  CHECK(graph.workspace_bytes(3) == 640);  // 600, in whole cache lines
  std::vector<char> arena(graph.values_bytes());
  std::vector<std::size_t> observed;
  const Graph::Observer observer = [&](std::size_t index, double seconds) {
    observed.push_back(index);
    CHECK(seconds >= 0.0);
  };
  graph.run({}, arena.data(), nullptr);
  graph.run({}, arena.data(), &observer);
  CHECK((order == std::vector<int>{0, 1, 2, 0, 1, 2}));
  CHECK((observed == std::vector<std::size_t>{0, 1, 2}));
}

void test_first_error_of_loading_wins() {
  for (int threads = 1; threads <= 4; ++threads) {
    Graph graph;
    std::vector<int> loaded(5, 0);
    for (std::size_t i = 0; i < 5; ++i) {
      Graph::Step s = step({}, {});
      s.load = [i, &loaded]() -> Status {
        loaded[i] = 1;
        if (i == 1 || i == 3) return Status::invalid_argument("tensor " + std::to_string(i));
        return {};
      };
      graph.add_step(std::move(s));
    }
    const Status status = graph.load(threads);
    CHECK_MSG(status.message() == "tensor 1", status.message());
    CHECK((loaded == std::vector<int>{1, 1, 1, 1, 1}));
  }
}

// A residual of another size than the result, in the middle of a graph that is right otherwise.
void test_maps_that_do_not_fit() {
  const std::vector<float> weight(16 * 8, 0.5F);
  const std::vector<float> bias(16, 0.25F);
  evsam::TensorTable tensors;
  tensors.add("a.conv.weight", {evsam::DType::kFloat32, {16, 8, 1, 1}, weight.data()});
  tensors.add("a.conv.bias", {evsam::DType::kFloat32, {16}, bias.data()});
  tensors.add("b.conv.weight", {evsam::DType::kFloat32, {8, 16, 1, 1}, weight.data()});
  for (const bool fits : {true, false}) {
    Graph graph;
    evsam::BlockBuilder builder(graph, tensors, evsam::Activation::none, 8, evsam::Precision::fp32);
    const Graph::Value x = graph.add_value({4, 4, 8});
    const Graph::Value other = graph.add_value({4, fits ? 4 : 2, 16});
    const Graph::Value sum = builder.pointwise(16, x, "a", "first 1x1", other);
    const Graph::Value y = builder.pointwise(8, sum, "b", "second 1x1");
    graph.place_values({y});
    const Status status = graph.load(2);
    CHECK_MSG(status.ok() == fits, status.message());
    if (!fits) {
      CHECK_MSG(status.message() == "first 1x1: y: expected shape (4, 4, 16), got (4, 2, 16)", status.message());
    }
  }
}

}  // namespace

int main() {
  test_chain_needs_two_buffers();
  test_skip_connection_survives();
  test_kept_values_are_not_overwritten();
  test_steps_run_in_order_with_the_largest_workspace();
  test_first_error_of_loading_wins();
  test_maps_that_do_not_fit();
  return evsam::test::test_result();
}
