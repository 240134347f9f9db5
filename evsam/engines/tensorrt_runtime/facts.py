"""What plans depend on, and whether they fit the machine at hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from evsam.errors import EvsamError
from evsam.export.folder import ExportFolder

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
        precision: ``fp32`` or ``fp16``.
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
