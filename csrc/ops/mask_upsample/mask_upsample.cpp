// Tables of both resizes, checks, tasks and launch; the arithmetic is in mask_upsample_simd.inl.
#include "ops/mask_upsample/mask_upsample.h"

#include <algorithm>
#include <string>

#include "core/math.h"
#include "core/scratch.h"

namespace evsam::mask_upsample {
namespace {

// A band computes a few rows that its neighbour computes too, so bands should not be small.
constexpr std::int64_t kRowsPerTask = 32;

constexpr std::int64_t kTasksPerThread = 4;

std::int64_t padded(std::int64_t n) { return divide_up(n, kPadding) * kPadding; }

struct Memory {
  Tap* frame_columns;
  Tap* frame_rows;
  Tap* columns;
  Tap* rows;
  PerWorker<float> rows_in_work;

  Memory(Scratch& scratch, const Kernel& kernel, const Params& params, int threads)
      : frame_columns(scratch.take<Tap>(padded(params.resized_width))),
        frame_rows(scratch.take<Tap>(params.resized_height)),
        columns(scratch.take<Tap>(padded(params.width))),
        rows(scratch.take<Tap>(params.height)),
        rows_in_work(scratch.take_each<float>(
            threads, scratch_floats(kernel, kLogitsSize, params.resized_width, params.width))) {}
};

void launch(const Kernel& kernel, const RunContext& context, const Params& params, const float* logits,
            std::uint8_t* masks, float* upscaled) {
  if (params.count == 0) return;
  const int threads = context.thread_count();
  Scratch scratch(context.workspace);
  const Memory memory(scratch, kernel, params, threads);
  fill_taps(kLogitsSize, kFrameSize, params.resized_width, padded(params.resized_width), memory.frame_columns);
  fill_taps(kLogitsSize, kFrameSize, params.resized_height, params.resized_height, memory.frame_rows);
  fill_taps(params.resized_width, params.width, params.width, padded(params.width), memory.columns);
  fill_taps(params.resized_height, params.height, params.height, params.height, memory.rows);

  const std::int64_t wanted = threads == 1 ? 1 : divide_up(threads * kTasksPerThread, params.count);
  const std::int64_t bands = std::clamp<std::int64_t>(params.height / kRowsPerTask, 1, wanted);
  const std::int64_t band_rows = divide_up(params.height, bands);
  const std::int64_t tasks = divide_up(params.height, band_rows);
  context.parallel_for(params.count * tasks, [&](std::int64_t task, int worker) {
    const std::int64_t plane = task / tasks;
    const std::int64_t pixels = params.height * params.width;
    OutputRows block;
    block.logits = logits + plane * kLogitsSize * kLogitsSize;
    block.logits_columns = kLogitsSize;
    block.frame_columns = memory.frame_columns;
    block.frame_rows = memory.frame_rows;
    block.columns = memory.columns;
    block.rows = memory.rows;
    block.resized_height = params.resized_height;
    block.resized_width = params.resized_width;
    block.width = params.width;
    block.first_row = task % tasks * band_rows;
    block.last_row = std::min(params.height, block.first_row + band_rows);
    const std::int64_t at = plane * pixels + block.first_row * params.width;
    block.mask = masks == nullptr ? nullptr : masks + at;
    block.upscaled = upscaled == nullptr ? nullptr : upscaled + at;
    block.scratch = memory.rows_in_work.of(worker);
    kernel.run(block);
  });
}

}  // namespace

void fill_taps(std::int64_t source, std::int64_t target, std::int64_t count, std::int64_t padded_count, Tap* taps) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  for (std::int64_t i = 0; i < count; ++i) {
    const double position = std::max((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0);
    const std::int64_t first = static_cast<std::int64_t>(position);
    const float weight = static_cast<float>(position - static_cast<double>(first));
    taps[i] = {static_cast<std::int32_t>(first), static_cast<std::int32_t>(std::min(first + 1, source - 1)),
               1.0F - weight, weight};
  }
  std::fill(taps + count, taps + padded_count, Tap{0, 0, 0.0F, 0.0F});
}

// Logits: a group of rows, transposed; a ring of two groups at the resized image's width. Resized image: a group of
// rows, transposed; the same at the output's width and the row before.
std::int64_t scratch_floats(const Kernel& kernel, std::int64_t logits_columns, std::int64_t resized_width,
                            std::int64_t width) {
  const std::int64_t lanes = kernel.lanes;
  const std::int64_t resized = padded(resized_width);
  return lanes * logits_columns + 2 * lanes * resized + lanes * resized + (lanes + 1) * padded(width);
}

Status validate(const Params& params) {
  if (params.count < 0) {
    return Status::invalid_argument(expected_got("count", "at least 0", std::to_string(params.count)));
  }
  const auto inside = [](std::int64_t side) { return side >= 1 && side <= kFrameSize; };
  if (!inside(params.resized_height) || !inside(params.resized_width)) {
    const std::int64_t got[2] = {params.resized_height, params.resized_width};
    return Status::invalid_argument(
        expected_got("resized_size", "1 to " + std::to_string(kFrameSize) + " pixels a side", shape_string(got, 2)));
  }
  constexpr std::int64_t kLimit = 1 << 28;
  const auto possible = [](std::int64_t side) { return side >= 1 && side <= kLimit; };
  if (!possible(params.height) || !possible(params.width)) {
    const std::int64_t got[2] = {params.height, params.width};
    return Status::invalid_argument(
        expected_got("original_size", "1 to " + std::to_string(kLimit) + " pixels a side", shape_string(got, 2)));
  }
  return {};
}

std::size_t workspace_bytes(const Kernel& kernel, const Params& params, int threads) {
  Scratch scratch;
  Memory(scratch, kernel, params, threads_or_default(threads));
  return scratch.bytes();
}

void run(const Kernel& kernel, const RunContext& context, const Params& params, const float* logits,
         std::uint8_t* masks) {
  launch(kernel, context, params, logits, masks, nullptr);
}

void upscale(const Kernel& kernel, const RunContext& context, const Params& params, const float* logits,
             float* upscaled) {
  launch(kernel, context, params, logits, nullptr, upscaled);
}

}  // namespace evsam::mask_upsample
