"""Encodes the photos of a folder ahead of any request, while nothing else waits.

The folder is the server's owner's choice: no request names one, or learns what is in it. Those who then send one of its
photos as the file is are answered without waiting for the encoder.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from evsam.images import image_files
from evsam.serve.photos import Photo, photo_from_bytes
from evsam.serve.problems import Problem
from evsam.serve.service import Service
from evsam.serve.settings import Settings

_log = logging.getLogger("evsam.serve")

_PAUSE = 1.0  # seconds, where others have left no room in the queue of what has time


def newest_photos(folder: Path) -> list[Path]:
    """The image files in a folder, those first that were changed last.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(image_files(folder), key=_changed, reverse=True)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # gone since the folder was read
        return 0.0


async def prewarm(service: Service, paths: list[Path]) -> None:
    """Encode photos until the cache has no room left; those that cannot be are logged, and left out."""
    kept = 0
    for path in paths:
        try:
            photo = await asyncio.to_thread(_read, path, service.settings)
            room = await _encode(service, photo)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, there are others
            service.metrics.prewarmed.labels("failed").inc()
            fields = {"file": str(path), "reason": str(error)}
            _log.warning("not prewarmed", extra={"fields": fields})
            continue
        if not room:
            break
        kept += 1
        service.metrics.prewarmed.labels("kept").inc()
    _log.info("prewarmed", extra={"fields": {"photos": kept, "of": len(paths)}})


async def _encode(service: Service, photo: Photo) -> bool:
    while True:
        try:
            return await service.prewarm(photo)
        except Problem as problem:
            if problem.status != 429:
                raise
        await asyncio.sleep(_PAUSE)


def _read(path: Path, settings: Settings) -> Photo:
    with path.open("rb") as file:
        photo = photo_from_bytes(file.read(settings.photo_bytes + 1), settings)
    photo.size(settings)
    return photo
