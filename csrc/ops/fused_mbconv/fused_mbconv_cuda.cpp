#include "ops/fused_mbconv/fused_mbconv_cuda.h"

#include <algorithm>
#include <string>

#include "core/math.h"
#include "cuda/conv_launch.h"
#include "cuda/epilogue_check.h"
#include "ops/fused_mbconv/fused_mbconv_cuda_args.h"

#define EVSAM_CUDA_KERNEL(name, Args, threads) extern "C" void name(evsam::cuda::fused_mbconv::Args);
#include "ops/fused_mbconv/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

namespace evsam::cuda::fused_mbconv {
namespace {

#define EVSAM_CUDA_KERNEL(name, Args, threads) \
  constexpr Kernel<Args> k_##name{{#name, "fused_mbconv", threads}, ::name};
#include "ops/fused_mbconv/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

// What the smallest of the architectures allow a block.
constexpr std::size_t kSharedLimit = std::size_t{99} * 1024;

struct Tile {
  const Kernel<Args>* kernel;
  std::int64_t hidden;      // channels at a time
  std::size_t stage_bytes;  // weights of a step
};

Tile choose_tile(std::int64_t outputs) {
  if (outputs <= 64) return {&k_f16_fused_mbconv_128x64__sm80, 64, kStageBytes<64>};
  if (outputs <= 128) return {&k_f16_fused_mbconv_128x128__sm80, 32, kStageBytes<32>};
  return {&k_f16_fused_mbconv_128x256__sm80, 64, kStageBytes<64>};
}

// Grid and shared memory of a launch.
struct Plan {
  Tile tile;
  std::int64_t tiles;   // of 8 x 16 pixels
  std::int64_t pixels;  // of the output
  std::int64_t splits;
  std::int64_t split_size;
  unsigned stages;
  unsigned patch_buffers;
  std::size_t shared_bytes;

  std::size_t workspace_bytes(std::int64_t outputs) const {
    return splits == 1 ? 0 : static_cast<std::size_t>(splits * pixels * outputs) * sizeof(float);
  }
};

// The whole patch stays in shared memory if it fits; then three stages rather than two.
void place_in_shared_memory(const ConvArgs& conv, Plan* plan) {
  const auto chunks = static_cast<unsigned>(divide_up(conv.in_channels, 32));
  for (const unsigned buffers : {chunks, std::min(chunks, 2U)}) {
    for (const unsigned stages : {3U, 2U}) {
      plan->patch_buffers = buffers;
      plan->stages = stages;
      plan->shared_bytes = stages * plan->tile.stage_bytes + buffers * patch_bytes(conv);
      if (plan->shared_bytes <= kSharedLimit) return;
    }
  }
}

Plan make_plan(const MapView& x, const ConvArgs& conv, std::int64_t outputs, const Device& device) {
  Plan plan{};
  plan.tile = choose_tile(outputs);
  plan.tiles = conv_tiles(x, conv);
  plan.pixels = x.batch * conv.out_height * conv.out_width;
  const std::int64_t blocks = divide_up(conv.channels, plan.tile.hidden);
  const std::int64_t wanted = std::clamp<std::int64_t>(device.multiprocessors / plan.tiles, 1, blocks);
  const std::int64_t blocks_per_split = divide_up(blocks, wanted);
  plan.splits = divide_up(blocks, blocks_per_split);
  plan.split_size = blocks_per_split * plan.tile.hidden;
  place_in_shared_memory(conv, &plan);
  return plan;
}

// Of valid params.
ConvArgs conv_of(const Params& params, MapView* x) {
  static_cast<void>(read_f16_map(params.x, "x", x));
  return conv_args(params.x.data, params.weight.data, *x, params.weight.shape[0], params.stride);
}

Status add_splits(const Plan& plan, const Args& args, Stream stream) {
  SumArgs sum{};
  sum.partial = args.partial_sums;
  sum.splits = static_cast<unsigned>(plan.splits);
  sum.pixels = plan.pixels;
  sum.epilogue = args.epilogue;
  const std::int64_t threads = plan.pixels * args.epilogue.channels / 8;
  const Dim3 grid{static_cast<unsigned>(divide_up(threads, kSumThreads)), 1, 1};
  return launch(k_f16_fused_mbconv_sum__sm80, grid, 0, stream, sum);
}

}  // namespace

Status validate(const Params& params) {
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  MapView out;
  EVSAM_RETURN_IF_ERROR(read_f16_map(as_const(params.out), "out", &out));
  if (out.channels > kMaxOutputs) {
    return Status::invalid_argument(
        expected_got("out", "at most " + std::to_string(kMaxOutputs) + " channels", std::to_string(out.channels)));
  }
  const std::int64_t hidden = params.weight.ndim > 0 ? params.weight.shape[0] : 0;
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.weight, "weight", {hidden, x.channels, 3, 3}, {0, 2, 3, 1}));
  if (hidden % 8 != 0 || hidden == 0) {
    return Status::invalid_argument(
        expected_got("weight", "a positive multiple of 8 hidden channels", std::to_string(hidden)));
  }
  EVSAM_RETURN_IF_ERROR(check_bias(params.bias, "bias", hidden));
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.point_weight, "point_weight", {out.channels, hidden}, {0, 1}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.point_bias, "point_bias", out.channels));
  EVSAM_RETURN_IF_ERROR(check_stride(params.stride));
  EVSAM_RETURN_IF_ERROR(check_output(params.residual, params.out, conv_output(x, out.channels, params.stride)));
  return check_activation(params.activation, params.activation_scale);
}

std::size_t workspace_bytes(const Params& params, const Device& device) {
  MapView x;
  const ConvArgs conv = conv_of(params, &x);
  const std::int64_t outputs = params.out.shape[1];
  return make_plan(x, conv, outputs, device).workspace_bytes(outputs);
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  MapView x;
  Args args{};
  args.conv = conv_of(params, &x);
  const Plan plan = make_plan(x, args.conv, params.out.shape[1], device);
  const std::size_t needed = plan.workspace_bytes(params.out.shape[1]);
  if (workspace_bytes < needed || (needed > 0 && workspace == nullptr)) {
    return Status::invalid_argument(expected_got("workspace", "at least " + std::to_string(needed) + " bytes",
                                                 std::to_string(workspace == nullptr ? 0 : workspace_bytes)));
  }
  EVSAM_RETURN_IF_ERROR(check_aligned(workspace, "workspace", 16));
  args.conv.patch_buffers = plan.patch_buffers;
  args.bias = static_cast<const float*>(params.bias.data);
  args.point_weight = params.point_weight.data;
  args.activation = params.activation;
  args.activation_scale = params.activation_scale;
  args.stages = plan.stages;
  args.splits = static_cast<unsigned>(plan.splits);
  args.split_size = static_cast<int>(plan.split_size);
  args.partial_sums = static_cast<float*>(workspace);
  args.pixels = plan.pixels;
  args.epilogue = epilogue_args(params.point_bias, params.residual, params.out, Activation::none, 1.0F);
  const Dim3 grid{static_cast<unsigned>(plan.tiles * plan.splits), 1, 1};
  EVSAM_RETURN_IF_ERROR(launch(*plan.tile.kernel, grid, plan.shared_bytes, stream, args));
  return plan.splits == 1 ? Status() : add_splits(plan, args, stream);
}

void append_kernels(std::vector<KernelInfo>& rows) {
#define EVSAM_CUDA_KERNEL(name, Args, threads) rows.push_back(k_##name.info);
#include "ops/fused_mbconv/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL
}

}  // namespace evsam::cuda::fused_mbconv
