"""Folders with exported models: ``evsam.json``, which says what is in them, beside the files of encoder and decoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evsam
from evsam.errors import EvsamError, WeightsError
from evsam.record import read_record, write_record
from evsam.writing import replaced_together
from evsam.zoo import Variant, get_variant

FORMAT = "evsam.export.1"
MANIFEST = "evsam.json"
KINDS = ("onnx", "tensorrt")
PARTS = ("encoder", "decoder")
RANGES = "ranges.json"
LAYERS = "layers.json"
REPORTS = (RANGES, LAYERS)
"""Files with what was found out on the way, where there is something to tell."""


@dataclass(frozen=True)
class ExportFolder:
    """A folder with both parts of a model.

    Attributes:
        path: of the folder.
        manifest: content of its ``evsam.json``.
    """

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> ExportFolder:
        """Read the manifest of a folder.

        Raises:
            EvsamError: it is missing or damaged, or of another version of the format.
        """
        label = f"path: expected a folder with an exported model and its {MANIFEST}, got {str(path)!r}"
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except OSError as error:
            raise EvsamError(f"{label}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise EvsamError(f"{label}, which is damaged ({error})") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            found = manifest.get("format") if isinstance(manifest, dict) else manifest
            raise EvsamError(f"{label} of format {found!r:.80}, not {FORMAT!r}")
        try:
            _check_files(manifest)
            _read_variant(manifest)
            for key in ("kind", "variant", "precision", "flavour", "fingerprint"):
                if not isinstance(manifest[key], str):
                    raise TypeError(f"a text for {key}")
            if manifest["kind"] not in KINDS:
                raise ValueError(f"a known kind, which is {' or '.join(KINDS)}")
        except WeightsError as error:
            raise EvsamError(f"{label}: {error}") from error
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise EvsamError(f"{label}, whose manifest lacks {error}") from error
        return cls(path, manifest)

    @property
    def kind(self) -> str:
        """``onnx`` or ``tensorrt``."""
        return str(self.manifest["kind"])

    @property
    def variant(self) -> Variant:
        """What it is a model of."""
        return _read_variant(self.manifest)

    @property
    def fingerprint(self) -> str:
        """Of the encoder's weights, as :func:`evsam.weights.encoder_fingerprint` gives it."""
        return str(self.manifest["fingerprint"])

    def read(self, part: str) -> bytes:
        """The file of a part, ``encoder`` or ``decoder``.

        Raises:
            EvsamError: it is missing, or not the one that the manifest speaks of.
        """
        record = self.manifest["files"][part]
        file = self.path / str(record["name"])
        try:
            data = file.read_bytes()
        except OSError as error:
            raise EvsamError(f"{file}: {error.strerror or error}") from error
        if len(data) != record["bytes"]:
            raise EvsamError(f"{file}: expected {record['bytes']} bytes, as {MANIFEST} says, got {len(data)}")
        digest = hashlib.sha256(data).hexdigest()
        if digest != record["sha256"]:
            raise EvsamError(f"{file}: expected SHA-256 {record['sha256']}, as {MANIFEST} says, got {digest}")
        return data


def _check_files(manifest: Mapping[str, Any]) -> None:
    for part in PARTS:
        record = manifest["files"][part]
        name = record["name"]
        if not isinstance(name, str) or name in ("", "..") or name != Path(name).name or not name.isprintable():
            raise TypeError(f"the name of a file for {part}")
        if type(record["bytes"]) is not int or not isinstance(record["sha256"], str):
            raise TypeError(f"size and checksum of {part}")


def _read_variant(manifest: Mapping[str, Any]) -> Variant:
    """By the record, or in folders of earlier versions by the name."""
    if "record" in manifest:
        return read_record(json.dumps(manifest["record"]))
    return get_variant(str(manifest["variant"]))


def make_manifest(
    kind: str,
    variant: str | Variant,
    precision: str,
    flavour: str,
    fingerprint: str,
    files: Mapping[str, bytes],
    suffix: str,
    **more: Any,
) -> dict[str, Any]:
    """The content of a manifest.

    Args:
        kind: ``onnx`` or ``tensorrt``.
        variant: what it is a model of: a record, or the name of one in the zoo.
        precision: of the encoder.
        flavour: ``plain`` or ``plugins``.
        fingerprint: of the encoder's weights.
        files: content by part.
        suffix: of their names.
        more: further entries.
    """
    return {
        "format": FORMAT,
        "kind": kind,
        "variant": get_variant(variant).name,
        "record": json.loads(write_record(get_variant(variant))),
        "precision": precision,
        "flavour": flavour,
        "fingerprint": fingerprint,
        "evsam": evsam.__version__,
        "files": {
            part: {"name": f"{part}.{suffix}", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for part, data in files.items()
        },
        **more,
    }


def write_folder(
    path: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any], reports: Mapping[str, Any] | None = None
) -> None:
    """Write files and manifest, all or none. A reader finds the old ones or the new ones, or refuses a mixture.

    Reports of an earlier export go.

    Args:
        path: of the folder; made if it is missing.
        files: content by part, whose names the manifest has.
        manifest: of :func:`make_manifest`.
        reports: JSON documents by name of file, of :data:`REPORTS`.

    Raises:
        OSError: the folder cannot be written to.
    """
    found = {name: json_bytes(document) for name, document in (reports or {}).items()}
    contents = {manifest["files"][part]["name"]: data for part, data in files.items()} | found
    contents[MANIFEST] = json_bytes(manifest)  # last, so that it speaks of files that are there
    with replaced_together([path / name for name in contents]) as temporaries:
        for temporary, data in zip(temporaries, contents.values(), strict=True):
            temporary.write_bytes(data)
    for name in REPORTS:
        if name not in found:
            (path / name).unlink(missing_ok=True)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A JSON file as exports have them."""
    return (json.dumps(document, indent=2) + "\n").encode()
