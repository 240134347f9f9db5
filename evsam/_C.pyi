# Compiled code of evsam; use it through evsam.ops and evsam.engines. Docstrings are in the module itself.

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

# One kernel of this build, named <dtype>_<op>__<isa>.
class Kernel(TypedDict):
    name: str
    op: str
    dtype: str
    isa: str
    supported: bool

# A block of a model, since the profile was begun; macs are those of one call.
class ProfileRow(TypedDict):
    name: str
    seconds: float
    macs: float
    calls: int

class Engine:
    def __init__(
        self,
        record: str,
        tensors: Mapping[str, NDArray[Any]],
        *,
        threads: int | None = None,
        precision: str = "fp32",
        mapped: set[str] = ...,
    ) -> None: ...
    @property
    def feature_shapes(self) -> list[tuple[int, int, int]]: ...
    @property
    def threads(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...
    def encode(self, image: NDArray[np.uint8], features: Sequence[NDArray[np.float32]]) -> None: ...
    def encode_pixels(self, pixels: NDArray[np.float32], features: Sequence[NDArray[np.float32]]) -> None: ...
    def decode(
        self,
        features: Sequence[NDArray[np.float32]],
        points: NDArray[np.float32],
        labels: NDArray[np.int32],
        masks: NDArray[np.float32] | None,
        logits: NDArray[np.float32],
        scores: NDArray[np.float32],
    ) -> None: ...
    def masks(
        self, logits: NDArray[np.float32], resized_height: int, resized_width: int, out: NDArray[np.uint8]
    ) -> None: ...
    def begin_profile(self) -> None: ...
    def end_profile(self) -> list[ProfileRow]: ...

compiler: str

def cpu_features() -> dict[str, bool]: ...
def selected_isa() -> str: ...
def usable_cpus() -> int: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def pin_threads(pinned: bool) -> bool: ...
def read_variant(record: str) -> dict[str, Any]: ...
def kernels() -> list[Kernel]: ...
def read_safetensors_header(
    name: str, content: NDArray[np.uint8]
) -> tuple[list[tuple[str, str, tuple[int, ...], int, int]], dict[str, str]]: ...
def measure_fma_gflops(isa: str, threads: int | None, seconds: float = 0.2) -> float: ...
def measure_bandwidth_gbs(isa: str, threads: int | None, bytes: int, seconds: float = 0.2) -> float: ...  # noqa: A002
def relu_linear_attention(
    qkv: NDArray[Any],
    out: NDArray[Any],
    *,
    eps: float,
    threads: int | None = None,
    isa: str = "",
) -> str: ...
def check_relu_linear_attention(qkv: NDArray[Any], out: NDArray[Any], *, eps: float) -> None: ...
def read_prompts(
    original_size: tuple[int, int],
    resized_size: tuple[int, int],
    *,
    points: NDArray[np.float64] | None,
    labels: NDArray[np.float64] | None,
    boxes: NDArray[np.float64] | None,
    masks: NDArray[np.float32] | None,
    boxes_name: str,
) -> tuple[NDArray[np.float32], NDArray[np.int32], bool]: ...
def points_to_frame(
    points: NDArray[np.floating[Any]], original_size: tuple[int, int], resized_size: tuple[int, int]
) -> NDArray[np.float32]: ...
def preprocess(image: NDArray[Any], size: int, *, threads: int | None = None) -> NDArray[np.float32]: ...
def resize_image(image: NDArray[Any], size: int, *, threads: int | None = None) -> NDArray[np.uint8]: ...
def mask_upsample(
    logits: NDArray[Any],
    resized_size: tuple[int, int],
    original_size: tuple[int, int],
    *,
    threads: int | None = None,
) -> NDArray[np.bool_]: ...
def upscale_logits(
    logits: NDArray[Any],
    resized_size: tuple[int, int],
    original_size: tuple[int, int],
    *,
    threads: int | None = None,
) -> NDArray[np.float32]: ...
