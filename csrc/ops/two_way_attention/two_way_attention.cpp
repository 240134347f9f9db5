// Checks, cuts into tasks and launches; the arithmetic is in two_way_attention_simd.inl.
#include "ops/two_way_attention/two_way_attention.h"

#include <algorithm>
#include <string>

#include "core/math.h"
#include "core/scratch.h"

namespace evsam::two_way_attention {
namespace {

// The cells of an image in at most kMaxChunks pieces of whole strips. They do not depend on the number of threads, so
// neither do the bits.
struct Chunks {
  std::int64_t cells;  // of a chunk, but for the last
  std::int64_t count;
};

Chunks cut(const Kernel& kernel, std::int64_t cells) {
  const std::int64_t strips = divide_up(cells, kernel.strip);
  const std::int64_t size = divide_up(strips, kMaxChunks) * kernel.strip;
  return {size, divide_up(cells, size)};
}

std::int64_t padded_columns(const Kernel& kernel, const Params& params) {
  return divide_up(params.heads * params.tokens, kernel.lanes) * kernel.lanes;
}

Projected from_cell(const Projected& projected, std::int64_t cell) {
  return {projected.data == nullptr ? nullptr : projected.data + cell * projected.inner, projected.inner};
}

struct Memory {
  PerWorker<float> work;
  float* partials;              // (prompts, chunks)
  std::int64_t partial_stride;  // floats

  Memory(Scratch& scratch, const Kernel& kernel, const Params& params, std::int64_t prompts, int threads) {
    const std::int64_t columns = padded_columns(kernel, params);
    work =
        scratch.take_each<float>(threads, params.channels * kernel.panel + columns * (kernel.panel + kernel.strip + 1));
    const PerWorker<float> each = scratch.take_each<float>(static_cast<int>(prompts * cut(kernel, params.cells).count),
                                                           columns * (params.channels + 2));
    partials = each.first;
    partial_stride = each.stride;
  }
};

PerWorker<float> take_panel(Scratch& scratch, const Kernel& kernel, std::int64_t channels, int threads) {
  return scratch.take_each<float>(threads, channels * kernel.panel);
}

}  // namespace

std::int64_t panel_count(const Kernel& kernel, std::int64_t cells) { return divide_up(cells, kernel.panel); }

std::int64_t panel_floats(const Kernel& kernel, std::int64_t cells, std::int64_t channels) {
  return panel_count(kernel, cells) * kernel.panel * channels;
}

void to_panels(const Kernel& kernel, const RunContext& context, const float* x, std::int64_t cells,
               std::int64_t channels, float* panels) {
  const std::int64_t size = kernel.panel;
  context.parallel_for(divide_up(cells, size), [&](std::int64_t p, int) {
    float* to = panels + p * size * channels;
    const std::int64_t count = std::min(size, cells - p * size);
    for (std::int64_t cell = 0; cell < count; ++cell) {
      const float* from = x + (p * size + cell) * channels;
      for (std::int64_t c = 0; c < channels; ++c) to[c * size + cell] = from[c];
    }
  });
}

void from_panels(const Kernel& kernel, const RunContext& context, const float* panels, std::int64_t cells,
                 std::int64_t channels, float* y) {
  const std::int64_t size = kernel.panel;
  context.parallel_for(divide_up(cells, size), [&](std::int64_t p, int) {
    const float* from = panels + p * size * channels;
    const std::int64_t count = std::min(size, cells - p * size);
    for (std::int64_t cell = 0; cell < count; ++cell) {
      float* to = y + (p * size + cell) * channels;
      for (std::int64_t c = 0; c < channels; ++c) to[c] = from[c * size + cell];
    }
  });
}

Status validate(const Params& params, const Prompt* prompts, std::int64_t count) {
  const std::int64_t shape[4] = {params.channels, params.heads, params.tokens, params.cells};
  if (std::any_of(shape, shape + 4, [](std::int64_t extent) { return extent < 1; })) {
    return Status::invalid_argument(
        expected_got("params", "at least one channel, head, token and cell", shape_string(shape, 4)));
  }
  for (std::int64_t i = 1; i < count; ++i) {
    if ((prompts[i].update == nullptr) != (prompts[0].update == nullptr) ||
        (prompts[i].queries.data == nullptr) != (prompts[0].queries.data == nullptr)) {
      return Status::invalid_argument(
          expected_got("prompts", "all to update or query alike", "a difference at " + std::to_string(i)));
    }
  }
  return {};
}

std::size_t workspace_bytes(const Kernel& kernel, const Params& params, std::int64_t count, int threads) {
  Scratch scratch;
  Memory(scratch, kernel, params, count, threads);
  return scratch.bytes();
}

void run(const Kernel& kernel, const RunContext& context, const Params& params, const float* position,
         const Prompt* prompts, std::int64_t count) {
  if (count == 0) return;
  const Chunks chunks = cut(kernel, params.cells);
  const std::int64_t columns = padded_columns(kernel, params);
  const bool query = prompts[0].queries.data != nullptr;

  Scratch scratch(context.workspace);
  const Memory memory(scratch, kernel, params, count, context.thread_count());
  const auto partial = [&](std::int64_t prompt, std::int64_t chunk) {
    float* const maxima = memory.partials + (prompt * chunks.count + chunk) * memory.partial_stride;
    return Partial{maxima + 2 * columns, maxima, maxima + columns};
  };

  context.parallel_for(count * chunks.count, [&](std::int64_t task, int worker) {
    const Prompt& prompt = prompts[task / chunks.count];
    const std::int64_t chunk = task % chunks.count;
    const std::int64_t first = chunk * chunks.cells;
    Query asked;
    Update update;
    if (prompt.update != nullptr) {
      update = *prompt.update;
      update.projected = from_cell(update.projected, first);
    }
    if (query) asked = {prompt.queries, from_cell(prompt.projected, first), partial(task / chunks.count, chunk)};
    Pass pass;
    pass.channels = params.channels;
    pass.heads = params.heads;
    pass.tokens = params.tokens;
    pass.cells = std::min(chunks.cells, params.cells - first);
    pass.image_in = prompt.image_in + first * params.channels;
    pass.image_out = prompt.image_out == nullptr ? nullptr : prompt.image_out + first * params.channels;
    pass.position = position + first * params.channels;
    pass.update = prompt.update == nullptr ? nullptr : &update;
    pass.query = query ? &asked : nullptr;
    pass.scratch = memory.work.of(worker);
    kernel.pass(pass);
  });
  if (!query) return;

  const std::int64_t vectors = columns / kernel.lanes;
  context.parallel_for(count * vectors, [&](std::int64_t task, int) {
    const std::int64_t prompt = task / vectors;
    Partial of_prompt[kMaxChunks];
    for (std::int64_t i = 0; i < chunks.count; ++i) of_prompt[i] = partial(prompt, i);
    const Merge merge = {params.channels,
                         chunks.count,
                         of_prompt,
                         params.heads * params.tokens,
                         prompts[prompt].means,
                         prompts[prompt].means_stride};
    kernel.merge(merge, task % vectors * kernel.lanes);
  });
}

std::size_t project_workspace_bytes(const Kernel& kernel, std::int64_t channels, int threads) {
  Scratch scratch;
  take_panel(scratch, kernel, channels, threads);
  return scratch.bytes();
}

void project(const Kernel& kernel, const RunContext& context, const float* image, const float* position,
             std::int64_t cells, std::int64_t channels, const Rows& matrix, const float* bias, std::int64_t inner,
             float* out) {
  const Chunks chunks = cut(kernel, cells);
  Scratch scratch(context.workspace);
  const PerWorker<float> panels = take_panel(scratch, kernel, channels, context.thread_count());
  context.parallel_for(chunks.count, [&](std::int64_t chunk, int worker) {
    const std::int64_t first = chunk * chunks.cells;
    Projection projection;
    projection.channels = channels;
    projection.inner = inner;
    projection.cells = std::min(chunks.cells, cells - first);
    projection.image = image + first * channels;
    projection.position = position + first * channels;
    projection.matrix = matrix;
    projection.bias = bias;
    projection.out = out + first * inner;
    projection.scratch = panels.of(worker);
    kernel.project(projection);
  });
}

}  // namespace evsam::two_way_attention
