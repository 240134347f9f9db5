"""Prompts of ``evsam predict``: from its options, the same for all photos, or from a file, for each its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.cli.arguments import did_you_mean
from evsam.cli.photos import PhotoFile
from evsam.errors import PromptError

_KEYS = ("box", "boxes", "points", "labels")


@dataclass(frozen=True)
class Request:
    """What is asked for in a photo.

    Attributes:
        arguments: ``box``, ``boxes``, ``points``, ``labels`` and ``mask`` as :meth:`evsam.Sam.predict` takes them.
        mask_file: where the mask is from.
    """

    arguments: Mapping[str, Any]
    mask_file: Path | None = None

    def entries(self, count: int) -> list[dict[str, Any]]:
        """What was asked for, for each of the masks that came of it."""
        given = self.arguments
        shared = {name: given[name] for name in ("points", "labels", "box") if name in given}
        if self.mask_file is not None:
            return [{**shared, "mask": str(self.mask_file)}]
        entries = [shared] * count
        if count > 1:  # points, if any, are those of N prompts
            entries = [{name: values[i] for name, values in shared.items()} for i in range(count)]
        if "boxes" in given:
            return [{**entry, "box": box} for entry, box in zip(entries, given["boxes"], strict=True)]
        return entries


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """A mask from an image file: its light pixels, where those of a palette are all but the first colour.

    Returns:
        bool (H, W).

    Raises:
        PromptError: the file is missing or damaged, or has no such pixels.
    """
    try:
        with Image.open(path) as image:
            wide = image.mode.startswith("I")  # as L, all numbers above 255 would be 255
            mode = image.mode if image.mode in ("1", "P") or wide else "L"
            values = np.asarray(image.convert(mode))
    except Exception as error:  # of Pillow's decoders
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PromptError(f"--mask: expected an image file, got {path} ({reason})") from error
    # of 0 and 255, or 65535, with soft edges; else of 0 and 1, or the numbers of objects
    half = 127 if mode == "L" else 32767 if wide else 0
    middle = half if values.max(initial=0) > half else 0
    mask: npt.NDArray[np.bool_] = values > middle
    if not mask.any():
        raise PromptError(f"--mask: expected an image with light pixels for the object, got {path}, which is black")
    return mask


class PromptFile:
    """A JSON file with prompts for each photo.

    Either COCO's form, whose boxes are the prompts: ``images`` with ``id`` and ``file_name``, ``annotations`` with
    ``image_id`` and ``bbox`` (x, y, width, height). Or prompts by the name of the photo, as :meth:`evsam.Sam.predict`
    takes them: ``{"cat.jpg": {"boxes": [[5, 0, 420, 300]]}, "dog.jpg": {"points": [[80, 90]], "labels": [1]}}``.

    A photo is found by its path, or by as many of the last parts of it as the file has.

    Attributes:
        path: of the file.
        skipped: annotations without a box.

    Raises:
        PromptError: the file is missing, or no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = 0
        label = f"--prompts: expected a JSON file with prompts, got {path}"
        try:
            content = json.loads(path.read_bytes())  # in any Unicode encoding, with a byte order mark or without
        except OSError as error:
            raise PromptError(f"{label} ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise PromptError(f"{label}, which is damaged ({error})") from error
        if not isinstance(content, dict):
            raise PromptError(f"{label}, which holds no names of photos")
        if "images" in content and "annotations" in content:
            try:
                self._prompts = self._read_coco(content)
            except (KeyError, TypeError, AttributeError) as error:
                raise PromptError(f"{label}, which looks like COCO's form, but is not ({error!r})") from error
        else:
            self._prompts = {_slashes(name): self._read_entry(name, entry) for name, entry in content.items()}
        if not self._prompts:
            raise PromptError(f"{label}, which has no photos")

    def photos(self) -> list[PhotoFile]:
        """The photos that the file names, in its folder."""
        return [PhotoFile(str(self.path.parent / name)) for name in self._prompts]

    def of(self, photo: PhotoFile) -> Request:
        """The prompts for a photo.

        Raises:
            PromptError: there are none.
        """
        parts = PurePath(photo.name).parts
        for start in range(len(parts)):
            if found := self._prompts.get("/".join(parts[start:])):
                return found
        raise PromptError(f"--prompts: expected prompts for {photo} in {self.path}, got none")

    def _read_coco(self, content: Mapping[str, Any]) -> dict[str, Request]:
        names = {str(image["id"]): _slashes(image["file_name"]) for image in content["images"]}
        boxes: dict[str, list[list[float]]] = {name: [] for name in names.values()}
        for annotation in content["annotations"]:
            box, name = annotation.get("bbox"), names.get(str(annotation.get("image_id")))
            usable = isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)
            if usable and name is not None and box[2] > 0 and box[3] > 0:
                boxes[name].append([box[0], box[1], box[0] + box[2], box[1] + box[3]])
            else:
                self.skipped += 1
        return {name: Request({"boxes": of}) for name, of in boxes.items()}

    def _read_entry(self, name: str, entry: object) -> Request:
        if not isinstance(entry, dict) or all(value is None for value in entry.values()):
            raise PromptError(f"--prompts: expected an object with {', '.join(_KEYS)} for {name!r}, got {entry!r:.80}")
        for key in entry:
            if key not in _KEYS:
                expected = ", ".join(_KEYS)
                hint = did_you_mean(key, _KEYS)
                raise PromptError(f"--prompts: expected {expected} for {name!r}, got {key!r:.80}{hint}")
        return Request({key: value for key, value in entry.items() if value is not None})


def _slashes(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
