"""The blocks of the model as functions on arrays.

Each op is one function with a PyTorch reference in `evsam.ops.reference`, its specification. Arrays come first, then
numbers by keyword, and what all have:

- `out=`: an array to be filled and returned; None makes a new one.
- `backend=`: who computes.

  - "native": the kernels of the CPU, those of the engine, on float32 arrays on the host: NumPy's, and PyTorch's where
    they need no gradient. Maps that lie in memory with their channels last go to the kernels as they are, others are
    copied. The kernels' instruction set is the best one, or that of the environment variable EVSAM_ISA.
  - "cuda": the kernels of the GPU, on arrays of any library.
  - "reference": the specification, in any floating-point dtype, on PyTorch tensors with gradients; needs the extra
    `torch`.
  - "auto", the default: "cuda" for arrays on a GPU; on the host "native", but "reference" for what has no native
    kernel: other dtypes, gradients, an `activation_scale`, and sizes that the function's docstring names.

- `threads=`: of "native".
- `stream=`: of "cuda", a CUDA stream as an integer, in whose order the result is ready; None means the current one of
  the arrays' library (PyTorch, CuPy), else the default stream.

A call puts its weights in the kernels' order first. Where the same weights are used again, :func:`pack` does so once,
for any instruction set of the machine. `evsam.ops.torch_ops` makes the ops of the encoder PyTorch operators.
"""

from evsam._C import cpu_features, get_num_threads, selected_isa, set_num_threads
from evsam.ops._arrays import Backend
from evsam.ops._op import Packed, pack
from evsam.ops.attention import relu_linear_attention, two_way_attention
from evsam.ops.blocks import fused_mbconv, lite_mla, mbconv
from evsam.ops.convolutions import conv3x3, depthwise_conv, pointwise
from evsam.ops.decoder import conv_transpose, mask_head, mask_prompt, patch_conv, sam_head
from evsam.ops.maps import layer_norm_2d, upsample_add
from evsam.ops.photos import mask_upsample, preprocess

__all__ = [
    "Backend",
    "Packed",
    "conv3x3",
    "conv_transpose",
    "cpu_features",
    "depthwise_conv",
    "fused_mbconv",
    "get_num_threads",
    "layer_norm_2d",
    "lite_mla",
    "mask_head",
    "mask_prompt",
    "mask_upsample",
    "mbconv",
    "pack",
    "patch_conv",
    "pointwise",
    "preprocess",
    "relu_linear_attention",
    "sam_head",
    "selected_isa",
    "set_num_threads",
    "two_way_attention",
    "upsample_add",
]
