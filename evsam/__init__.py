"""EfficientViT-SAM: encode an image once, predict masks from points, boxes and masks many times.

Example:
    >>> import evsam
    >>> sam = evsam.load("nano")
    >>> embedding = sam.encode(image)
    >>> result = sam.predict(embedding, box=(20, 10, 90, 70))
    >>> result.best().shape
    (1, 80, 120)
"""

from importlib.util import find_spec
from typing import Any

if find_spec("evsam._C") is None:  # a clone's sources, without the compiled modules
    from pathlib import Path

    from evsam._clone import installed

    __path__[:] = [installed(Path(__file__).parent)]
    del Path, installed

from evsam.embedding import Embedding
from evsam.errors import BackendUnavailable, EvsamError, EvsamWarning, ImageError, PromptError, WeightsError
from evsam.polygons import Polygon
from evsam.results import Prediction
from evsam.sam import Sam, load

__all__ = [
    "BackendUnavailable",
    "Embedding",
    "EvsamError",
    "EvsamWarning",
    "ImageError",
    "Polygon",
    "Prediction",
    "PromptError",
    "Sam",
    "WeightsError",
    "__version__",
    "load",
]

__version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":  # read from the installed distribution only when asked for: that takes milliseconds
        from importlib.metadata import version

        return version("evsam")
    raise AttributeError(f"module 'evsam' has no attribute {name!r}")
