// Packs, checks, cuts into tasks and launches; the arithmetic is in sam_head_simd.inl.
#include "ops/sam_head/sam_head.h"

#include <algorithm>
#include <utility>

#include "core/scratch.h"

namespace evsam::sam_head {
namespace {

// Rows of weights are read several at a time; a power of two apart they would share few sets of the L1 cache.
constexpr std::int64_t kRowGap = 16;

// Cells of a task: a few tens of microseconds of work.
constexpr std::int64_t kTaskCells = 64;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Memory {
  PerWorker<float> layers;   // of a panel of cells
  PerWorker<float> vectors;  // per prompt: (features, its masks)
  PerWorker<std::uint8_t> columns;

  Memory(Scratch& scratch, const Packed& packed, std::int64_t prompts, int threads) {
    const Params& params = packed.params;
    const std::int64_t panel = packed.kernel->panel;
    const std::int64_t tile = packed.narrow() == nullptr ? 0 : 4 * params.features;
    layers = scratch.take_each<float>(threads, (4 * params.middle + 16 * kMasks + tile) * panel);
    vectors = scratch.take_each<float>(static_cast<int>(prompts), params.features * kMasks);
    if (packed.narrow() == nullptr) return;
    // Of cells in factors, too, which have at most C weights.
    const std::int64_t depth = std::max(packed.narrow_first.depth, packed.narrow_second.depth);
    columns = scratch.take_each<std::uint8_t>(threads, narrow::column_bytes(*packed.narrow(), panel, depth));
  }
};

AlignedBuffer<float> repeat(const float* values, std::int64_t count, std::int64_t times) {
  AlignedBuffer<float> result(size(count * times));
  for (std::int64_t i = 0; i < times; ++i) std::copy_n(values, count, result.data() + i * count);
  return result;
}

// (in, out, 4) to rows position * out + o of `in` values.
FirstMatrix pack_rows(const float* weight, std::int64_t in, std::int64_t out) {
  FirstMatrix matrix;
  matrix.stride = in + kRowGap;
  matrix.rows = AlignedBuffer<float>(size(4 * out * matrix.stride));
  for (std::int64_t i = 0; i < in; ++i) {
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t position = 0; position < 4; ++position) {
        matrix.rows[size((position * out + o) * matrix.stride + i)] = weight[(i * out + o) * 4 + position];
      }
    }
  }
  return matrix;
}

// The rule of 1x1 convolutions, but for the depth: panels are converted once for hundreds of rows.
bool suits(const narrow::Kernel& kernel, const FirstMatrix& matrix, std::int64_t rows, std::int64_t channels) {
  return narrow::keeps_weights(kernel, matrix.rows.data(), rows, channels, matrix.stride);
}

}  // namespace

Status pack(const Params& params, const BasicWeights<float>& weights, const Kernels* kernels, Packed* packed) {
  const std::int64_t shape[3] = {params.channels, params.middle, params.features};
  if (std::any_of(shape, shape + 3, [](std::int64_t extent) { return extent < 1; })) {
    return Status::invalid_argument(expected_got("params", "no empty axis", shape_string(shape, 3)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  *packed = {};
  packed->params = params;
  packed->kernel = kernels->sam_head;
  FirstMatrix first = pack_rows(weights.first, params.channels, params.middle);
  FirstMatrix second = pack_rows(weights.second, params.middle, params.features);
  const narrow::Kernel* narrow = nullptr;
  EVSAM_RETURN_IF_ERROR(narrow::kernel_for(params.precision, kernels->isa, &narrow));
  if (narrow != nullptr && suits(*narrow, first, 4 * params.middle, params.channels) &&
      suits(*narrow, second, 4 * params.features, params.middle)) {
    narrow::pack_rows(*narrow, first.rows.data(), 4 * params.middle, params.channels, first.stride,
                      &packed->narrow_first);
    narrow::pack_rows(*narrow, second.rows.data(), 4 * params.features, params.middle, second.stride,
                      &packed->narrow_second);
  } else {
    packed->params.precision = Precision::fp32;
    packed->first = std::move(first.rows);
    packed->second = std::move(second.rows);
  }
  packed->first_bias = repeat(weights.first_bias, params.middle, 4);
  packed->gain = repeat(weights.gain, params.middle, 1);
  packed->shift = repeat(weights.shift, params.middle, 1);
  packed->second_bias = repeat(weights.second_bias, params.features, 4);
  return {};
}

FirstMatrix first_matrix(const Params& params, const float* first) {
  return pack_rows(first, params.channels, params.middle);
}

std::size_t Packed::bytes() const {
  std::size_t sum = narrow_first.bytes() + narrow_second.bytes();
  for (const AlignedBuffer<float>* buffer : {&first, &second, &first_bias, &gain, &shift, &second_bias}) {
    sum += buffer->bytes();
  }
  return sum;
}

Status validate(const Packed& packed, std::int64_t rows, std::int64_t columns) {
  if (packed.kernel == nullptr) return Status::invalid_argument(expected_got("packed", "packed weights", "none"));
  if (rows < 1 || columns < 1) {
    const std::int64_t shape[2] = {rows, columns};
    return Status::invalid_argument(expected_got("image", "at least one cell", shape_string(shape, 2)));
  }
  return {};
}

std::size_t workspace_bytes(const Packed& packed, std::int64_t count, int threads) {
  Scratch scratch;
  Memory(scratch, packed, count, threads);
  return scratch.bytes();
}

void run(const Packed& packed, const RunContext& context, const Prompt* prompts, std::int64_t count, std::int64_t rows,
         std::int64_t columns) {
  const Params& params = packed.params;
  Weights weights = {params.channels,           params.middle,
                     params.features,           packed.first.data(),
                     params.channels + kRowGap, packed.first_bias.data(),
                     packed.gain.data(),        packed.shift.data(),
                     packed.second.data(),      params.middle + kRowGap,
                     packed.second_bias.data()};
  if (packed.narrow() != nullptr) {
    weights.narrow = packed.narrow();
    weights.narrow_first = packed.narrow_first.from_row(0);
    weights.narrow_second = packed.narrow_second.from_row(0);
  }
  Scratch scratch(context.workspace);
  const Memory memory(scratch, packed, count, context.thread_count());
  const auto vectors_of = [&](std::int64_t prompt) { return memory.vectors.of(static_cast<int>(prompt)); };
  for (std::int64_t p = 0; p < count; ++p) {
    for (std::int64_t k = 0; k < params.features; ++k) {
      for (int m = 0; m < prompts[p].masks; ++m) {
        vectors_of(p)[k * prompts[p].masks + m] = prompts[p].vectors[m * params.features + k];
      }
    }
  }
  const std::int64_t cells = rows * columns;
  const std::int64_t tasks = (cells + kTaskCells - 1) / kTaskCells;
  context.parallel_for(count * tasks, [&](std::int64_t task, int worker) {
    const std::int64_t prompt = task / tasks;
    const std::int64_t first = task % tasks * kTaskCells;
    Cells block;
    block.weights = &weights;
    block.image = prompts[prompt].image;
    block.factored = prompts[prompt].factored;
    if (block.image != nullptr) {
      block.image += first * params.channels;
    } else {
      block.factored.common += first * block.factored.common_rows;
      block.factored.weights += first * block.factored.weight_rows;
    }
    block.first_cell = first;
    block.cells = std::min(kTaskCells, cells - first);
    block.columns = columns;
    block.masks = prompts[prompt].masks;
    block.vectors = vectors_of(prompt);
    std::copy_n(prompts[prompt].logits, block.masks, block.logits);
    block.scratch = memory.layers.of(worker);
    block.narrow_columns = memory.columns.of(worker);
    packed.kernel->run(block);
  });
}

}  // namespace evsam::sam_head
