"""What plans depend on (shapes, settings of the builder, the machine), and whether they fit the machine at hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from evsam.embedding import embedding_shapes
from evsam.errors import EvsamError
from evsam.export.folder import ExportFolder
from evsam.zoo import LOGITS_SIZE, Variant, get_variant

Range = tuple[int, int, int]
"""Smallest value, the one that TensorRT optimises for, and the largest."""

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Of one input: smallest, optimal and largest."""

Profile = dict[str, Shapes]
"""Of the inputs with shapes that vary."""

WITH_POINTS, WITHOUT_POINTS = 0, 1
"""The decoder's profiles."""


@dataclass(frozen=True)
class Profiles:
    """How many images, prompts and points a call may have; the engine splits calls with more images or prompts.

    Prompts without any point, of a mask alone, have a profile of their own: TensorRT then sees that there are tokens in
    all other calls, and padding instead would change the result.

    Attributes:
        batch: images that are encoded together.
        prompts: that are decoded together. Each takes about 1 MiB for its logits and 40 MB for what is computed.
        points: of one prompt, the padding point or the corners of a box included. Calls with more are refused.
        images: embeddings that a call of the decoder gets, if not one for all of its prompts; evsam's engine needs one.
        mask_alone: whether prompts of a mask alone are wanted; they double the time to build the decoder.
    """

    batch: Range = (1, 1, 4)
    prompts: Range = (1, 16, 64)
    points: Range = (1, 2, 64)
    images: Range = (1, 1, 1)
    mask_alone: bool = True

    def __post_init__(self) -> None:
        for name in ("batch", "prompts", "points", "images"):
            values = getattr(self, name)
            if len(values) != 3 or not 1 <= values[0] <= values[1] <= values[2]:
                raise EvsamError(f"{name}: expected numbers with 1 <= smallest <= optimal <= largest, got {values}")
        if self.images not in ((1, 1, 1), self.prompts):
            raise EvsamError(f"images: expected (1, 1, 1) or those of prompts, {self.prompts}, got {self.images}")

    def encoder(self, variant: str | Variant) -> list[Profile]:
        """The profiles of a variant's encoder."""
        side = get_variant(variant).image_size
        return [{"images": _shapes(self.batch, (3, side, side))}]

    def decoder(self, variant: str | Variant) -> list[Profile]:
        """The profiles of a variant's decoder: :data:`WITH_POINTS`, then :data:`WITHOUT_POINTS`."""
        embedding, *lateral = embedding_shapes(variant)
        maps = {"image_embeddings": embedding, **{f"lateral_{i}": shape for i, shape in enumerate(lateral)}}
        common = {name: _shapes(self.images, shape) for name, shape in maps.items()}
        mask = (1, LOGITS_SIZE, LOGITS_SIZE)
        _, optimal, largest = self.prompts
        clicks = {
            "point_coords": _product(self.prompts, self.points, (2,)),
            "point_labels": _product(self.prompts, self.points, ()),
            # most clicks come without a mask, and then with one that does not count
            "mask_input": _shapes((1, 1, largest), mask),
        }
        if not self.mask_alone:
            return [{**common, **clicks}]
        none = (0, 0, 0)
        masks = {
            "point_coords": _product(self.prompts, none, (2,)),
            "point_labels": _product(self.prompts, none, ()),
            "mask_input": _shapes((1, optimal, largest), mask),
        }
        return [{**common, **clicks}, {**common, **masks}]

    def as_json(self) -> dict[str, Any]:
        """For a manifest."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class BuildOptions:
    """Settings of TensorRT's builder. Precisions are not among them: the network says them, tensor by tensor.

    Attributes:
        workspace: limit of the memory that a layer may use while it runs, in bytes; None for all of the GPU's.
        level: 0 to 5: time spent on the search for fast kernels; None for TensorRT's default, 3.
        tf32: whether products of float32 numbers may be rounded to TF32's 11 digits, which is faster and no longer
            float32.
        version_compatible: whether newer versions of the same major version may run the plan; slower.
        hardware_compatible: whether other GPUs, from Ampere on, may run the plan; slower.
    """

    workspace: int | None = None
    level: int | None = None
    tf32: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False

    def __post_init__(self) -> None:
        if self.workspace is not None and self.workspace < 1:
            raise EvsamError(f"workspace: expected a positive number of bytes or None, got {self.workspace}")
        if self.level is not None and not 0 <= self.level <= 5:
            raise EvsamError(f"level: expected 0 to 5 or None, got {self.level}")

    def as_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)


def _shapes(counts: Range, rest: tuple[int, ...]) -> Shapes:
    smallest, optimal, largest = ((count, *rest) for count in counts)
    return smallest, optimal, largest


def _product(prompts: Range, points: Range, rest: tuple[int, ...]) -> Shapes:
    smallest, optimal, largest = ((n, t, *rest) for n, t in zip(prompts, points, strict=True))
    return smallest, optimal, largest


ENTRY = "plan"
"""Where a manifest has the facts."""

_KEY_DIGITS = 32

_OLDEST_COMPATIBLE = 8.0
"""Compute capability (Ampere) from which hardware-compatible plans run."""


@dataclass(frozen=True)
class Machine:
    """What plans depend on where they are built and run.

    Attributes:
        gpu: name of the GPU.
        compute_capability: of the GPU, for example ``8.7``.
        driver: newest CUDA version that the driver knows, for example 12060.
        tensorrt: its version in full.
        plugins: SHA-256 of evsam's plugin library, or ``none``.
    """

    gpu: str
    compute_capability: str
    driver: int
    tensorrt: str
    plugins: str


@dataclass(frozen=True)
class Facts:
    """Everything that a plan depends on.

    Attributes:
        machine: that it was built on; without plugins if the plan does not use them.
        model: digest of what was exported: of the ONNX files, or of the weights and the version of the exporter.
        precision: ``fp32``, ``fp16``, ``int8`` or ``fp8``.
        flavour: ``plain`` or ``plugins``.
        profiles: limits of the shapes, as JSON.
        build: settings of the builder, as JSON.
    """

    machine: Machine
    model: str
    precision: str
    flavour: str
    profiles: Mapping[str, Any]
    build: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Digest of all of them."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]

    def as_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    @classmethod
    def read(cls, folder: ExportFolder) -> Facts:
        """The facts of a folder with plans.

        Raises:
            EvsamError: the folder has none, or others.
        """
        try:
            entry = dict(folder.manifest[ENTRY])
            machine = Machine(**{field.name: entry["machine"][field.name] for field in fields(Machine)})
            others = {field.name: entry[field.name] for field in fields(cls) if field.name != "machine"}
            float(machine.compute_capability), machine.tensorrt.partition("."), others["build"].get
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EvsamError(
                f"path: expected a folder with TensorRT plans, got {str(folder.path)!r}, whose manifest lacks {error}"
            ) from error
        return cls(machine, **others)


def check_machine(folder: ExportFolder, here: Machine) -> None:
    """Make sure that the plans of a folder are for this machine.

    Raises:
        EvsamError: they are not; the message says in what they differ.
    """
    facts = Facts.read(folder)
    anywhere = facts.build.get("hardware_compatible") and float(here.compute_capability) >= _OLDEST_COMPATIBLE
    problems = []
    for name in (field.name for field in fields(Machine)):
        theirs, ours = getattr(facts.machine, name), getattr(here, name)
        if (name == "plugins" and facts.flavour == "plain") or (name in ("gpu", "compute_capability") and anywhere):
            continue
        if name == "tensorrt" and facts.build.get("version_compatible"):
            theirs, ours = theirs.partition(".")[0], ours.partition(".")[0]
        if theirs != ours:
            problems.append(f"{name} {theirs}, here it is {ours}")
    if problems:
        raise EvsamError(
            f"path: expected plans that were built for this machine, got {str(folder.path)!r} for "
            f"{'; for '.join(problems)}; export the model anew on this machine"
        )
