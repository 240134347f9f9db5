"""The fused blocks of the model as functions on arrays.

Each op is one function (`out=`, `backend=`) with a PyTorch reference in `evsam.ops.reference`, which is its
specification. On a GPU all have compiled kernels (`backend="cuda"`, `stream=`) that take arrays of any library; on the
CPU those that the package itself needs have (`backend="cpu"`, `threads=`). `evsam.ops.torch_ops` makes them PyTorch
operators.
"""

from evsam._C import cpu_features, get_num_threads, selected_isa, set_num_threads
from evsam.ops.conv3x3 import conv3x3
from evsam.ops.fused_mbconv import fused_mbconv
from evsam.ops.layer_norm import layer_norm_2d
from evsam.ops.lite_mla import lite_mla
from evsam.ops.mask_upsample import mask_upsample
from evsam.ops.mbconv import mbconv
from evsam.ops.pointwise import pointwise
from evsam.ops.preprocess import preprocess
from evsam.ops.relu_linear_attention import relu_linear_attention
from evsam.ops.upsample_add import upsample_add

__all__ = [
    "conv3x3",
    "cpu_features",
    "fused_mbconv",
    "get_num_threads",
    "layer_norm_2d",
    "lite_mla",
    "mask_upsample",
    "mbconv",
    "pointwise",
    "preprocess",
    "relu_linear_attention",
    "selected_isa",
    "set_num_threads",
    "upsample_add",
]
