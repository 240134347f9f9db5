# CUDA kernels, in builds that have them; use them through evsam.ops. Docstrings are in the module itself.
#
# Arrays are of any library: DLPack or __cuda_array_interface__. The functions of the ops fill `out`; shapes, layouts
# and the other arguments are those of the functions in evsam.ops.

from typing import Any, TypedDict

from numpy.typing import NDArray

# A row of an op's list of kernels.
class Kernel(TypedDict):
    name: str
    op: str
    threads: int

# What was launched, in emulation.
class Launch(TypedDict):
    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    arguments: bytes

class DeviceArray:
    @staticmethod
    def empty(
        shape: tuple[int, ...], dtype: str, *, memory_order: tuple[int, ...] = (), stream: int | None = None
    ) -> DeviceArray: ...
    @staticmethod
    def from_host(array: NDArray[Any], *, dtype: str | None = None, stream: int | None = None) -> DeviceArray: ...
    def to_host(self) -> NDArray[Any]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def device(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

emulated: bool

def device_count() -> int: ...
def driver_error() -> str | None: ...
def device_name(device: int = 0) -> str: ...
def kernels() -> list[Kernel]: ...
def describe(
    array: Any, name: str = "array", stream: int | None = None
) -> tuple[tuple[int, ...], str, tuple[int, ...]]: ...
def conv3x3(
    x: Any,
    weight: Any,
    bias: Any,
    residual: Any,
    out: Any,
    *,
    stride: int,
    activation: str,
    activation_scale: float,
    stream: int | None = None,
) -> None: ...
def fused_mbconv(
    x: Any,
    weight: Any,
    bias: Any,
    point_weight: Any,
    point_bias: Any,
    residual: Any,
    out: Any,
    *,
    stride: int,
    activation: str,
    activation_scale: float,
    stream: int | None = None,
    workspace: Any = None,
) -> None: ...
def layer_norm(x: Any, weight: Any, bias: Any, out: Any, *, eps: float, stream: int | None = None) -> None: ...
def lite_mla(
    x: Any,
    qkv_weight: Any,
    qkv_bias: Any,
    depthwise: Any,
    grouped: Any,
    project_weight: Any,
    project_bias: Any,
    residual: Any,
    out: Any,
    *,
    eps: float,
    split: str = "automatic",
    stream: int | None = None,
    workspace: Any = None,
) -> None: ...
def mask_upsample(logits: Any, out: Any, *, resized_size: tuple[int, int], stream: int | None = None) -> None: ...
def mbconv(
    x: Any,
    expand_weight: Any,
    expand_bias: Any,
    depthwise_weight: Any,
    depthwise_bias: Any,
    project_weight: Any,
    project_bias: Any,
    residual: Any,
    out: Any,
    *,
    stride: int,
    activation: str,
    activation_scale: float,
    stream: int | None = None,
    workspace: Any = None,
) -> None: ...
def pointwise(
    x: Any,
    weight: Any,
    bias: Any,
    residual: Any,
    out: Any,
    *,
    activation: str,
    activation_scale: float,
    stream: int | None = None,
) -> None: ...
def preprocess(image: Any, out: Any, *, stream: int | None = None, workspace: Any = None) -> None: ...
def relu_linear_attention(
    qkv: Any, out: Any, *, eps: float, split: str = "automatic", stream: int | None = None, workspace: Any = None
) -> None: ...
def upsample_add(x: Any, x2: Any, residual: Any, out: Any, *, mode: str, stream: int | None = None) -> None: ...

# In the emulated build only.
def begin_trace(execute: bool = True) -> None: ...
def end_trace() -> list[Launch]: ...
def set_device(*, multiprocessors: int, compute_capability: int, shared_bytes: int) -> None: ...
