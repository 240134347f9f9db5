// Checks, cuts into tasks and launches; the arithmetic is in mask_prompt_simd.inl.
#include "ops/mask_prompt/mask_prompt.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/scratch.h"

namespace evsam::mask_prompt {
namespace {

// Cells of a task: a few tens of microseconds of work.
constexpr std::int64_t kTaskCells = 256;

PerWorker<float> take_layers(Scratch& scratch, const Packed& packed, int threads) {
  return scratch.take_each<float>(threads, (16 + 4 * packed.params.narrow + packed.params.wide) * packed.kernel->panel);
}

Status check(const std::string& name, const Layer& layer, std::int64_t out, std::int64_t in, bool norm) {
  const auto sizes = [&](std::size_t weight, std::size_t bias, std::size_t gain) {
    const std::int64_t numbers[3] = {static_cast<std::int64_t>(weight), static_cast<std::int64_t>(bias),
                                     static_cast<std::int64_t>(gain)};
    return "sizes " + shape_string(numbers, 3);
  };
  const auto weight = static_cast<std::size_t>(out * in);
  const auto bias = static_cast<std::size_t>(out);
  const std::size_t gain = norm ? bias : 0;
  if (layer.weight.size() == weight && layer.bias.size() == bias && layer.gain.size() == gain &&
      layer.shift.size() == gain) {
    return {};
  }
  return Status::invalid_argument(
      expected_got(name, sizes(weight, bias, gain), sizes(layer.weight.size(), layer.bias.size(), layer.gain.size())));
}

}  // namespace

Status pack(const Params& params, Layer first, Layer second, Layer last, const Kernels* kernels, Packed* packed) {
  EVSAM_RETURN_IF_ERROR(check("first", first, params.narrow, 4, true));
  EVSAM_RETURN_IF_ERROR(check("second", second, params.wide, 4 * params.narrow, true));
  EVSAM_RETURN_IF_ERROR(check("last", last, params.channels, params.wide, false));
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->mask_prompt;
  packed->first = std::move(first);
  packed->second = std::move(second);
  packed->last = std::move(last);
  return {};
}

std::size_t workspace_bytes(const Packed& packed, int threads) {
  Scratch scratch;
  take_layers(scratch, packed, threads);
  return scratch.bytes();
}

void run(const Packed& packed, const RunContext& context, const float* mask, const float* image, std::int64_t rows,
         std::int64_t columns, float* out) {
  const Params& params = packed.params;
  const Weights weights = {params.narrow,
                           params.wide,
                           params.channels,
                           packed.first.weight.data(),
                           packed.first.bias.data(),
                           packed.first.gain.data(),
                           packed.first.shift.data(),
                           packed.second.weight.data(),
                           packed.second.bias.data(),
                           packed.second.gain.data(),
                           packed.second.shift.data(),
                           packed.last.weight.data(),
                           packed.last.bias.data()};
  Scratch scratch(context.workspace);
  const PerWorker<float> layers = take_layers(scratch, packed, context.thread_count());
  const std::int64_t cells = rows * columns;
  context.parallel_for((cells + kTaskCells - 1) / kTaskCells, [&](std::int64_t task, int worker) {
    const std::int64_t first = task * kTaskCells;
    Cells block;
    block.weights = &weights;
    block.mask = mask;
    block.columns = columns;
    block.first_cell = first;
    block.cells = std::min(kTaskCells, cells - first);
    block.image = image + first * params.channels;
    block.out = out + first * params.channels;
    block.scratch = layers.of(worker);
    packed.kernel->run(block);
  });
}

}  // namespace evsam::mask_prompt
