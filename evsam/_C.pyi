# Compiled kernels of evsam; use them through evsam.ops. Docstrings are in the module itself.

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

# One kernel of this build: a row of an op's variants.inc.
class Variant(TypedDict):
    name: str
    op: str
    device: str
    dtype: str
    isa: str
    supported: bool

compiler: str

def cpu_features() -> dict[str, bool]: ...
def selected_isa() -> str: ...
def usable_cpus() -> int: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def pin_threads(pinned: bool) -> bool: ...
def variants() -> list[Variant]: ...
def measure_fma_gflops(isa: str, threads: int | None, seconds: float = 0.2) -> float: ...
def measure_bandwidth_gbs(isa: str, threads: int | None, bytes: int, seconds: float = 0.2) -> float: ...  # noqa: A002
def relu_linear_attention(
    qkv: NDArray[Any],
    out: NDArray[Any],
    *,
    eps: float,
    threads: int | None = None,
    variant: str = "",
) -> str: ...
def check_relu_linear_attention(qkv: NDArray[Any], out: NDArray[Any], *, eps: float) -> None: ...
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
