"""Annotated photos, however they lie on disk: for evaluation and training. Needs neither torch nor other packages."""

from evsam.datasets.annotated import AnnotatedSet, list_sets, read_set
from evsam.datasets.coco import CocoPhotos
from evsam.datasets.detections import Detection, Detections, read_detections
from evsam.datasets.masks import MaskPhotos
from evsam.datasets.opening import open_photos
from evsam.datasets.records import Annotation, BrokenSample, Category, DataError, Photo, Photos, PhotoSource
from evsam.datasets.sa1b import Sa1bFolder, Sa1bTars

__all__ = [
    "AnnotatedSet",
    "Annotation",
    "BrokenSample",
    "Category",
    "CocoPhotos",
    "DataError",
    "Detection",
    "Detections",
    "MaskPhotos",
    "Photo",
    "PhotoSource",
    "Photos",
    "Sa1bFolder",
    "Sa1bTars",
    "list_sets",
    "open_photos",
    "read_detections",
    "read_set",
]
