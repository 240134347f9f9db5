"""EfficientViT-SAM: encode an image once, predict masks from points, boxes and masks many times.

Example:
    >>> import evsam
    >>> sam = evsam.load("nano")
    >>> embedding = sam.encode(image)
    >>> result = sam.predict(embedding, box=(20, 10, 90, 70))
    >>> result.best().shape
    (1, 80, 120)
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("evsam._C") is None:  # a clone's sources, without the compiled modules
    from pathlib import Path

    from evsam._clone import installed

    __path__[:] = [installed(Path(__file__).parent)]
    del Path, installed

if TYPE_CHECKING:
    from evsam.client import AsyncClient, Client
    from evsam.embedding import Embedding
    from evsam.errors import BackendUnavailable, EvsamError, EvsamWarning, ImageError, PromptError, WeightsError
    from evsam.everything import Segment, Segments
    from evsam.polygons import Polygon
    from evsam.results import Prediction
    from evsam.sam import Sam, load
    from evsam.stream import AsyncStream, Stream, StreamResult, StreamStats
    from evsam.tracking import Track, Tracker, Tracks

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "BackendUnavailable",
    "Client",
    "Embedding",
    "EvsamError",
    "EvsamWarning",
    "ImageError",
    "Polygon",
    "Prediction",
    "PromptError",
    "Sam",
    "Segment",
    "Segments",
    "Stream",
    "StreamResult",
    "StreamStats",
    "Track",
    "Tracker",
    "Tracks",
    "WeightsError",
    "__version__",
    "load",
]

__version__: str

_HOMES = {
    "AsyncClient": "client",
    "AsyncStream": "stream",
    "Client": "client",
    "Embedding": "embedding",
    "Polygon": "polygons",
    "Prediction": "results",
    "Sam": "sam",
    "Segment": "everything",
    "Segments": "everything",
    "Stream": "stream",
    "StreamResult": "stream",
    "StreamStats": "stream",
    "Track": "tracking",
    "Tracker": "tracking",
    "Tracks": "tracking",
    "load": "sam",
    **dict.fromkeys((name for name in __all__ if name.endswith(("Error", "Warning", "Unavailable"))), "errors"),
}
"""Modules of the names above, imported when a name is asked for: the command line starts, and stops, at once."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"evsam.{_HOMES[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("evsam")
    elif not name.startswith("_") and find_spec(f"evsam.{name}"):  # evsam.zoo, and the other modules
        return import_module(f"evsam.{name}")
    else:
        raise AttributeError(f"module 'evsam' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
