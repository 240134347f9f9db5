# Compiled code of evsam; use it through evsam.ops and evsam.engines. Docstrings are in the module itself.

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

_PromptGroup: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32], NDArray[np.float32] | None]

# One kernel of this build, named <dtype>_<op>__<isa>.
class Kernel(TypedDict):
    name: str
    op: str
    dtype: str
    isa: str
    supported: bool

# An extension that multiplies narrow numbers; keeps_masks: of models with which kinds of decoders.
class NarrowExtension(TypedDict):
    name: str
    precision: str
    isa: str
    supported: bool
    keeps_masks: list[str]

# A block of a model, since the profile was begun; macs are those of one call.
class ProfileRow(TypedDict):
    name: str
    seconds: float
    macs: float
    calls: int

# What the environment says about the cache of packed weights; limit: bytes of all its files.
class PackedCacheEnvironment(TypedDict):
    on: bool
    folder: str
    limit: int

class Engine:
    def __init__(
        self,
        record: str,
        tensors: Mapping[str, NDArray[Any]],
        *,
        threads: int | None = None,
        precision: str = "fp32",
        mapped: set[str] = ...,
        packed_cache: bool | None = None,
        packed_folder: str = "",
        packed_least: int | None = None,
    ) -> None: ...
    @property
    def packed_cache(self) -> dict[str, str]: ...
    @property
    def feature_shapes(self) -> list[tuple[int, int, int]]: ...
    @property
    def threads(self) -> int: ...
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
        *,
        first: int = 0,
        above: float = ...,
    ) -> None: ...
    def masks(
        self, logits: NDArray[np.float32], resized_height: int, resized_width: int, out: NDArray[np.uint8]
    ) -> None: ...
    def begin_profile(self) -> None: ...
    def end_profile(self) -> list[ProfileRow]: ...

_Sides: TypeAlias = tuple[int, int, int, int]
_Segment: TypeAlias = tuple[NDArray[np.int64], _Sides, int, float, float, tuple[float, float], _Sides]

class Tracker:
    def __init__(
        self, channels: int, side: int, photo: tuple[int, int], threshold: float = 0.0, window: float = 0.0
    ) -> None: ...
    def add(self, embedding: NDArray[np.float32], logits: NDArray[np.float32], score: float, id: int = 0) -> int: ...  # noqa: A002
    def remove(self, id: int) -> bool: ...  # noqa: A002
    def close_view(self, id: int) -> list[int]: ...  # noqa: A002
    def add_close(self, id: int, embedding: NDArray[np.float32], part: Sequence[int]) -> None: ...  # noqa: A002
    def next_view(self) -> list[int]: ...
    def look(self, embedding: NDArray[np.float32], part: Sequence[int]) -> None: ...
    def prompts(self) -> tuple[NDArray[np.float32], NDArray[np.int32]] | None: ...
    def answer(self, logits: NDArray[np.float32], scores: NDArray[np.float32]) -> None: ...
    def step(self, engine: Engine, features: Sequence[NDArray[np.float32]], part: Sequence[int]) -> None: ...
    def objects(self) -> list[tuple[int, float, int, list[float]]]: ...
    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]: ...
    def save(self) -> bytes: ...
    def load(self, state: bytes) -> None: ...

class EverythingGenerator:
    def __init__(
        self,
        height: int,
        width: int,
        *,
        mode: str = "fast",
        points_per_side: int = 32,
        point_grids: Sequence[NDArray[np.float64]] | None = None,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = ...,
        crop_n_points_downscale_factor: int = 1,
        min_mask_region_area: int = 0,
        mask_threshold: float = 0.0,
        threads: int | None = None,
    ) -> None: ...
    @property
    def crops(self) -> list[_Sides]: ...
    @property
    def total(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def finished(self) -> bool: ...
    @property
    def bytes(self) -> int: ...
    @property
    def least_iou(self) -> float: ...
    def batch(self) -> tuple[int, NDArray[np.float32], NDArray[np.int32]] | None: ...
    def add(self, logits: NDArray[np.float32], scores: NDArray[np.float32]) -> None: ...
    def ask(self, engine: Engine, features: Sequence[NDArray[np.float32]]) -> None: ...
    def segments(self) -> list[_Segment]: ...

compiler: str

def cpu_features() -> dict[str, bool]: ...
def selected_isa() -> str: ...
def usable_cpus() -> int: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def pin_threads(pinned: bool) -> bool: ...
def slept_seconds() -> float: ...
def drop_file_pages(array: NDArray[Any]) -> None: ...
def hash_bytes(array: NDArray[np.float32]) -> int: ...
def packed_cache_environment() -> PackedCacheEnvironment: ...
def read_variant(record: str) -> dict[str, Any]: ...
def kernels() -> list[Kernel]: ...
def narrow_kernels() -> dict[str, str | None]: ...
def narrow_extensions() -> list[NarrowExtension]: ...
def fast_precisions() -> dict[str, str]: ...
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
    mask_prompt: str,
) -> tuple[list[_PromptGroup], bool]: ...
def group_prompts(
    points: NDArray[np.float32],
    labels: NDArray[np.int32],
    masks: NDArray[np.float32] | None,
    resized_size: tuple[int, int],
    mask_prompt: str,
) -> list[_PromptGroup]: ...
def points_to_frame(
    points: NDArray[np.floating[Any]], original_size: tuple[int, int], resized_size: tuple[int, int]
) -> NDArray[np.float32]: ...

# Masks are uint8 (H, W), C order, 0 and 1; canvases uint8 (H, W, 3), C order, and painted in place.
def count_runs(mask: NDArray[np.uint8]) -> NDArray[np.int64]: ...
def run_ends(counts: bytes, height: int, width: int) -> NDArray[np.int64]: ...
def counts_text(counts: NDArray[np.int64]) -> str: ...
def runs_extent(ends: NDArray[np.int64], height: int) -> tuple[int, tuple[int, int, int, int]]: ...
def fill_runs(ends: NDArray[np.int64], height: int, width: int) -> NDArray[np.uint8]: ...
def mask_extent(mask: NDArray[np.uint8]) -> tuple[int, tuple[int, int, int, int]]: ...
def deepest_pixel(mask: NDArray[np.uint8], passed: NDArray[np.uint8] | None = None) -> tuple[int, int, int]: ...
def clean_mask(mask: NDArray[np.uint8], min_area: int, fill_below: int, corners: bool = False) -> NDArray[np.uint8]: ...
def trace_outlines(
    mask: NDArray[np.uint8], tolerance: float
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]: ...
def fill_mask(
    canvas: NDArray[np.uint8],
    photo: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    colour: tuple[int, int, int],
    opacity: float,
    left: int,
    top: int,
) -> None: ...
def stroke_rings(
    canvas: NDArray[np.uint8],
    corners: NDArray[np.int32],
    ends: NDArray[np.int64],
    width: float,
    colour: tuple[int, int, int],
    opacity: float,
) -> None: ...

# An op with its weights packed for one instruction set; see evsam.ops.pack. Maps are float32 (B, H, W, C).
class PackedOp:
    def __call__(
        self, inputs: Sequence[NDArray[np.float32] | None], out: NDArray[np.float32], *, threads: int | None = None
    ) -> None: ...

def pack_conv3x3(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    *,
    stride: int,
    activation: str,
    algorithm: str = "automatic",
    precision: str = "fp32",
    isa: str = "",
) -> PackedOp: ...
def pack_pointwise(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    *,
    activation: str,
    precision: str = "fp32",
    isa: str = "",
) -> PackedOp: ...
def pack_depthwise_conv(
    weight: NDArray[np.float32], bias: NDArray[np.float32] | None, *, stride: int, activation: str, isa: str = ""
) -> PackedOp: ...
def pack_fused_mbconv(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    point_weight: NDArray[np.float32],
    point_bias: NDArray[np.float32] | None,
    *,
    stride: int,
    activation: str,
    algorithm: str = "automatic",
    precision: str = "fp32",
    isa: str = "",
) -> PackedOp: ...
def pack_mbconv(
    expand_weight: NDArray[np.float32],
    expand_bias: NDArray[np.float32] | None,
    depthwise_weight: NDArray[np.float32],
    depthwise_bias: NDArray[np.float32] | None,
    project_weight: NDArray[np.float32],
    project_bias: NDArray[np.float32] | None,
    *,
    stride: int,
    activation: str,
    precision: str = "fp32",
    isa: str = "",
) -> PackedOp: ...
def pack_lite_mla(
    qkv_weight: NDArray[np.float32],
    qkv_bias: NDArray[np.float32] | None,
    depthwise: NDArray[np.float32],
    grouped: NDArray[np.float32],
    project_weight: NDArray[np.float32],
    project_bias: NDArray[np.float32] | None,
    *,
    eps: float,
    precision: str = "fp32",
    isa: str = "",
) -> PackedOp: ...
def pack_layer_norm_2d(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    *,
    eps: float,
    activation: str = "none",
    isa: str = "",
) -> PackedOp: ...
def pack_resize(
    channels: int, from_size: tuple[int, int], to_size: tuple[int, int], *, mode: str, isa: str = ""
) -> PackedOp: ...
def pack_patch_conv(
    weight: NDArray[np.float32], bias: NDArray[np.float32] | None, *, activation: str, isa: str = ""
) -> PackedOp: ...
def pack_conv_transpose(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    side_weight: NDArray[np.float32] | None,
    *,
    activation: str,
    isa: str = "",
) -> PackedOp: ...
def pack_mask_head(
    weight: NDArray[np.float32], bias: NDArray[np.float32] | None, *, activation: str, isa: str = ""
) -> PackedOp: ...
def pack_mask_prompt(
    first_weight: NDArray[np.float32],
    first_bias: NDArray[np.float32],
    first_gain: NDArray[np.float32],
    first_shift: NDArray[np.float32],
    second_weight: NDArray[np.float32],
    second_bias: NDArray[np.float32],
    second_gain: NDArray[np.float32],
    second_shift: NDArray[np.float32],
    last_weight: NDArray[np.float32],
    last_bias: NDArray[np.float32],
    *,
    isa: str = "",
) -> PackedOp: ...
def pack_sam_head(
    first_weight: NDArray[np.float32],
    first_bias: NDArray[np.float32],
    gain: NDArray[np.float32],
    shift: NDArray[np.float32],
    second_weight: NDArray[np.float32],
    second_bias: NDArray[np.float32],
    *,
    isa: str = "",
) -> PackedOp: ...
def two_way_attention(
    cells: NDArray[np.float32],
    position: NDArray[np.float32],
    update: tuple[NDArray[np.float32], ...] | None,
    queries: NDArray[np.float32] | None,
    cells_out: NDArray[np.float32] | None,
    means: NDArray[np.float32] | None,
    *,
    heads: int,
    threads: int | None = None,
    isa: str = "",
) -> None: ...
def to_channels_last(
    x: NDArray[np.float32], out: NDArray[np.float32], *, threads: int | None = None, isa: str = ""
) -> None: ...
def to_channels_first(
    x: NDArray[np.float32], out: NDArray[np.float32], *, threads: int | None = None, isa: str = ""
) -> None: ...
def preprocess(image: NDArray[Any], size: int, *, threads: int | None = None, isa: str = "") -> NDArray[np.float32]: ...
def resize_image(image: NDArray[Any], size: int, *, threads: int | None = None, isa: str = "") -> NDArray[np.uint8]: ...
def mask_upsample(
    logits: NDArray[Any],
    resized_size: tuple[int, int],
    original_size: tuple[int, int],
    *,
    threads: int | None = None,
    isa: str = "",
) -> NDArray[np.bool_]: ...
def upscale_logits(
    logits: NDArray[Any],
    resized_size: tuple[int, int],
    original_size: tuple[int, int],
    *,
    threads: int | None = None,
    isa: str = "",
) -> NDArray[np.float32]: ...
