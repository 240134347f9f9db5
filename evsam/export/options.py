"""What an exported model is to be like, and what then goes into it and comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from evsam.embedding import embedding_shapes
from evsam.errors import EvsamError
from evsam.zoo import LOGITS_SIZE, Variant, get_variant

QuantizedPrecision = Literal["int8", "fp8"]
ExportPrecision = Literal["fp32", "fp16"] | QuantizedPrecision
MaskSelection = Literal["all", "single", "multi", "auto"]

OPSETS = (17, 20)

PRECISIONS: tuple[ExportPrecision, ...] = ("fp32", "fp16", "int8", "fp8")
QUANTIZED: tuple[QuantizedPrecision, ...] = get_args(QuantizedPrecision)
"""Those with Q/DQ nodes; what stays out of 8 bits is float16."""

PLUGINS = (
    "EvsamReluLinearAttention",
    "EvsamLiteMLA",
    "EvsamFusedMBConv",
    "EvsamLayerNorm2d",
    "EvsamUpsampleAdd",
)
"""Names of evsam's TensorRT plugins, which are the op types of their nodes."""

CONVOLVING_PLUGINS = frozenset({"EvsamLiteMLA", "EvsamFusedMBConv"})
"""Those with convolutions, whose kernels take float16 alone."""

FLOAT32_PLUGINS = frozenset(PLUGINS) - CONVOLVING_PLUGINS
"""Those whose kernels also take float32 maps."""


@dataclass(frozen=True)
class ExportOptions:
    """How a model is written.

    Attributes:
        precision: of weights and of what flows between nodes; inputs and outputs are float32 all the same. ``fp16``
            folds ranges first (:mod:`evsam.export.ranges`), and keeps in float32 what needs it: sums of the linear
            attention, softmax, normalisation, positions of prompts. ``int8`` and ``fp8`` are that, with convolutions
            and linear layers that read 8 bits where masks allow it (:mod:`evsam.export.sensitivity`).
        plugins: op types of :data:`PLUGINS` to write as nodes of domain ``evsam``; empty for standard operators alone.
        masks: which masks the decoder gives: ``all`` four, the ``single`` one, the three (``multi``) for ambiguous
            prompts, or, with ``auto``, one: the best of the three for a single click without box and mask, else the
            single one.
        image_size_masks: whether the decoder also gives masks at the image's size.
        opset: version of ONNX's standard operators, 17 or 20; 8 bits need 20. onnxruntime runs 17 from its version 1.16
            on, 20 from 1.17 on; with plugins, whose nodes carry functions with overloads, both need 1.18.
    """

    precision: ExportPrecision = "fp32"
    plugins: frozenset[str] = frozenset()
    masks: MaskSelection = "all"
    image_size_masks: bool = False
    opset: int = 17

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise EvsamError(f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.masks not in get_args(MaskSelection):
            raise EvsamError(f"masks: expected one of {', '.join(get_args(MaskSelection))}, got {self.masks!r}")
        if self.opset not in OPSETS:
            raise EvsamError(f"opset: expected {' or '.join(map(str, OPSETS))}, got {self.opset!r}")
        if self.opset < (least := default_opset(self.precision)):
            raise EvsamError(f"opset: expected {least} for {self.precision}, got {self.opset}")
        check_plugins(self.plugins)

    @property
    def is_narrow(self) -> bool:
        """Whether the network computes on float16, or less."""
        return self.precision != "fp32"

    @property
    def is_quantized(self) -> bool:
        """Whether there are layers that read 8 bits."""
        return self.precision in QUANTIZED

    @property
    def flavour(self) -> str:
        """``plugins`` or ``plain``."""
        return "plugins" if self.plugins else "plain"


def default_opset(precision: str) -> int:
    """The oldest one that can be written: Q/DQ nodes with float16 scales, and float8, came with 19."""
    return OPSETS[-1] if precision in QUANTIZED else OPSETS[0]


def default_options(precision: ExportPrecision) -> ExportOptions:
    """Standard operators, all masks at low resolution."""
    return ExportOptions(precision, opset=default_opset(precision))


def usable_plugins(precision: str) -> frozenset[str]:
    """Plugins whose kernels take what the network computes on."""
    return FLOAT32_PLUGINS if precision == "fp32" else frozenset(PLUGINS)


def default_plugins(precision: str) -> frozenset[str]:
    """Plugins that a model is written with where nobody names some.

    Where there are 8 bits, those with convolutions are not among them: their kernels compute on float16.
    """
    return usable_plugins(precision) - (CONVOLVING_PLUGINS if precision in QUANTIZED else frozenset())


def check_plugins(names: Iterable[str]) -> frozenset[str]:
    """The names as a set.

    Raises:
        EvsamError: one of them is no plugin.
    """
    found = frozenset(names)
    if unknown := sorted(found.difference(PLUGINS)):
        raise EvsamError(f"plugins: expected names among {', '.join(PLUGINS)}, got {', '.join(unknown)}")
    return found


MASKS = {"all": 4, "single": 1, "multi": 3, "auto": 1}
"""Masks for each prompt by :attr:`ExportOptions.masks`."""


@dataclass(frozen=True)
class Tensor:
    """One input or output; all are float32. Lengths that vary have names."""

    name: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Interface:
    """What a model takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def encoder_interface(variant: str | Variant) -> Interface:
    """Of the encoder of a variant."""
    side = get_variant(variant).image_size
    return Interface((Tensor("images", ("batch", 3, side, side)),), tuple(_features(variant, "batch")))


def decoder_interface(variant: str | Variant, options: ExportOptions | None = None) -> Interface:
    """Of the decoder of a variant."""
    options = options or ExportOptions()
    count, side = MASKS[options.masks], LOGITS_SIZE
    inputs = [
        *_features(variant, "images"),
        Tensor("point_coords", ("prompts", "points", 2)),
        Tensor("point_labels", ("prompts", "points")),
        Tensor("mask_input", ("mask_prompts", 1, side, side)),
        Tensor("has_mask_input", (1,)),
    ]
    outputs = [Tensor("iou_predictions", ("prompts", count)), Tensor("low_res_masks", ("prompts", count, side, side))]
    if options.image_size_masks:
        inputs.append(Tensor("orig_im_size", (2,)))
        outputs.insert(0, Tensor("masks", ("prompts", count, "height", "width")))
    return Interface(tuple(inputs), tuple(outputs))


def _features(variant: str | Variant, lead: str) -> Sequence[Tensor]:
    shapes = embedding_shapes(variant)
    names = ["image_embeddings", *(f"lateral_{i}" for i in range(len(shapes) - 1))]
    return [Tensor(name, (lead, *shape)) for name, shape in zip(names, shapes, strict=True)]
