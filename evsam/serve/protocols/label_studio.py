"""An ML backend of Label Studio, whose URL ends with ``/label-studio``: brush masks for smart keypoints and rectangles.

A task that is opened without a prompt is encoded ahead, so that the first click is answered at once.
"""

from __future__ import annotations

import contextlib
import uuid
from html.parser import HTMLParser
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from evsam.results import Prediction
from evsam.serve.api import CallerOf, ServiceOf
from evsam.serve.fetching import Fetcher
from evsam.serve.problems import RESPONSES, Problem
from evsam.serve.schemas import MANY, Number
from evsam.serve.service import Asked, Service

router = APIRouter(prefix="/label-studio", responses=RESPONSES, tags=["Label Studio"])

_RUN_BITS = np.array([3, 4, 8, 16])  # of the four ways to write how long a run is
_LONGEST_RUN = 1 << 16
_CHANNELS = 4  # of a brush: red, green, blue and alpha of the canvas


class Task(BaseModel):
    """A photo, by a URL under the key that the labelling config names."""

    id: int | str | None = None
    data: dict[str, Any]


class Value(BaseModel):
    """Of a region: a point, or a rectangle with its size; percent of the photo."""

    x: Number
    y: Number
    width: Number = 0.0
    height: Number = 0.0
    keypointlabels: list[str] = Field([], max_length=MANY)
    rectanglelabels: list[str] = Field([], max_length=MANY)


class Region(BaseModel):
    """A prompt."""

    type: str
    value: Value
    is_positive: bool = True


class Context(BaseModel):
    """What is being drawn."""

    result: list[Region] = Field(default=[], max_length=256)


class Params(BaseModel):
    """Of a request."""

    context: Context | None = None


class PredictRequest(BaseModel):
    """What Label Studio sends."""

    tasks: Annotated[list[Task], Field(max_length=256)]
    label_config: str = Field(max_length=100_000)
    params: Params | None = None


class PredictAnswer(BaseModel):
    """Predictions, one for each task."""

    model_version: str
    results: list[dict[str, Any]]


@router.get("/")
@router.get("/health")
async def health() -> dict[str, str]:
    """Whether the backend answers."""
    return {"status": "UP", "model_class": "evsam"}


@router.post("/setup")
async def setup(service: ServiceOf) -> dict[str, str]:
    """Which model it is; what Label Studio says of the project is not needed."""
    return {"model_version": _version(service)}


@router.get("/versions")
async def versions(service: ServiceOf) -> dict[str, list[str]]:
    """The one version that there is."""
    return {"versions": [_version(service)]}


@router.post("/webhook")
async def webhook() -> dict[str, str]:
    """Events of the project; nothing is learnt from them."""
    return {"status": "ignored"}


@router.post("/predict")
async def predict(body: PredictRequest, service: ServiceOf, caller: CallerOf, request: Request) -> PredictAnswer:
    """A brush mask for what is being drawn; without, the photos of all tasks are prepared."""
    fetcher: Fetcher = request.app.state.fetcher
    config = _Config(body.label_config)
    regions = body.params.context.result if body.params and body.params.context else []
    results = []
    for task in body.tasks:
        url = task.data.get(config.key)
        if not isinstance(url, str):
            raise Problem(422, "task", f"task: expected a URL as {config.key!r}, got none")
        photo = await fetcher.photo(url)
        if regions:
            embedding = await service.embed(photo, caller)
            prompt, label = _prompt(regions, embedding.original_size)

            def render(prediction: Prediction, label: str = label) -> dict[str, Any]:
                return _result(prediction, label, config, service)

            results.append(await service.predict(Asked(embedding, [prompt], None, True, render), caller))
        else:
            service.prepare(photo, caller)
            results.append({"model_version": _version(service), "score": 0.0, "result": []})
    return PredictAnswer(model_version=_version(service), results=results)


def encode_brush(mask: npt.NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) as Label Studio stores brushes: thi.ng's rle-pack of four equal channels, 0 and 255.

    The bits: 32 for the number of values, 5 for the bits of a value less 1, four times 4 for the bits of the lengths of
    runs less 1; then of each run 1, 2 for which of the four it uses, its length less 1, and 8 for its value.

    Example:
        >>> encode_brush(np.array([[False, True]]))
        [0, 0, 0, 8, 57, 27, 252, 192, 15, 31, 224]
    """
    values = mask.ravel()
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    lengths = _CHANNELS * np.diff(starts, append=values.size)
    pieces = -(-lengths // _LONGEST_RUN)  # a run that is too long becomes several
    runs = np.full(pieces.sum(), _LONGEST_RUN, np.int64)
    runs[pieces.cumsum() - 1] = lengths - (pieces - 1) * _LONGEST_RUN
    colours = np.repeat(values[starts], pieces).astype(np.int64) * 255
    way = np.searchsorted(2**_RUN_BITS, runs)
    bits = _RUN_BITS[way]
    codes = (((4 + way) << bits | runs - 1) << 8) | colours
    head = [(values.size * _CHANNELS, 32), (7, 5), *((int(size) - 1, 4) for size in _RUN_BITS)]
    codes = np.concatenate([[code for code, _ in head], codes])
    widths = np.concatenate([[width for _, width in head], 11 + bits])
    ends = widths.cumsum()
    stream = np.zeros(ends[-1], np.uint8)
    for bit in range(int(widths.max())):
        wide = widths > bit
        stream[ends[wide] - 1 - bit] = codes[wide] >> bit & 1
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def _prompt(regions: list[Region], size: tuple[int, int]) -> tuple[dict[str, Any], str]:
    """All regions as one prompt in pixels, and the label of the last one."""
    height, width = size
    prompt: dict[str, Any] = {}
    points, labels, label = [], [], ""
    for region in regions:
        value = region.value
        x, y = value.x * width / 100, value.y * height / 100
        if region.type == "keypointlabels":
            points.append([min(max(x, 0), width - 1), min(max(y, 0), height - 1)])
            labels.append(int(region.is_positive))
            label = (value.keypointlabels or [label])[0]
        elif region.type == "rectanglelabels":
            prompt["box"] = [x, y, x + value.width * width / 100, y + value.height * height / 100]
            label = (value.rectanglelabels or [label])[0]
    if points:
        prompt |= {"points": points, "labels": labels}
    if not prompt:
        raise Problem(422, "prompt", "context: expected keypointlabels or rectanglelabels, got neither")
    return prompt, label


def _result(prediction: Prediction, label: str, config: _Config, service: Service) -> dict[str, Any]:
    height, width = prediction.size
    score = float(prediction.scores[0, 0])
    region = {
        "id": uuid.uuid4().hex[:8],
        "from_name": config.brush,
        "to_name": config.image,
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_brush(prediction.masks[0, 0]), "brushlabels": [label]},
        "score": score,
        "readonly": False,
    }
    return {"model_version": _version(service), "score": score, "result": [region]}


def _version(service: Service) -> str:
    return f"evsam-{service.sam.variant.name}-{service.sam.fingerprint[:8]}"


class _Config(HTMLParser):
    """Of a labelling config, the names that answers have: read as tags, of which entities and the like mean nothing.

    Attributes:
        brush: name of the first BrushLabels.
        image: name of the image that they are drawn on.
        key: of the task's data that has its URL.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._keys: dict[str, str] = {}
        self.brush = self.image = ""
        with contextlib.suppress(AssertionError):  # html.parser's word for a declaration that is none
            self.feed(text)
        self.key = self._keys.get(self.image, "").lstrip("$")
        if not self.key:
            raise Problem(422, "label_config", "label_config: expected BrushLabels for an Image, got neither or one")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        given = {name: value or "" for name, value in attrs}
        if tag == "image":
            self._keys[given.get("name", "")] = given.get("value", "")
        elif tag == "brushlabels" and not self.brush:
            self.brush, self.image = given.get("name", ""), given.get("toname", "")

    handle_startendtag = handle_starttag
