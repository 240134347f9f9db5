"""The remote server of X-AnyLabeling, whose ``server_url`` ends with ``/x-anylabeling`` then: photos.

Sequences of frames are :mod:`evsam.serve.protocols.x_anylabeling_video`'s.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter
from pydantic import BaseModel, Field

from evsam.polygons import Ring, trace_polygons
from evsam.results import Prediction
from evsam.serve.api import CallerOf, ServiceOf
from evsam.serve.photos import photo_from_text
from evsam.serve.problems import RESPONSES, Problem
from evsam.serve.schemas import Number
from evsam.serve.service import Asked, Service

router = APIRouter(prefix="/x-anylabeling", responses=RESPONSES, tags=["X-AnyLabeling"])

_LABEL = "AUTOLABEL_OBJECT"  # which the program asks its user to replace
_WIDGETS: tuple[tuple[str, int | None], ...] = (
    ("button_add_point", None),
    ("button_remove_point", None),
    ("button_add_rect", None),
    ("button_clear", None),
    ("button_finish_object", None),
    ("mask_fineness_slider", 10),
    ("mask_fineness_value_label", None),
)
_VIDEO_WIDGETS = tuple(widget for widget in _WIDGETS if widget[0] != "button_add_rect")  # of which videos send none
_SPECK = 0.02  # of the largest part of a mask: parts below are left out, for which nobody wants a shape to delete
_STEPS = 0.71  # pixels: from here on the steps of slanted edges are straight


class Mark(BaseModel):
    """A click, x and y, or a box, x and y of two corners."""

    type: Literal["point", "rectangle"]
    data: list[Number] = Field(max_length=4)
    label: int = 1


class Params(BaseModel):
    """Of a prediction; others that the program knows have no meaning here."""

    marks: list[Mark] = Field(default=[], max_length=256)
    conf_threshold: Number = 0.0
    epsilon_factor: Annotated[float, Field(ge=0, le=1)] = 0.001


class PredictRequest(BaseModel):
    """What the program sends."""

    model: str
    image: str = Field(description="a data URL, or base64")
    params: Params = Field(default_factory=Params)


class Shape(BaseModel):
    """A polygon."""

    label: str = _LABEL
    shape_type: str = "polygon"
    points: list[list[float]]
    score: float
    group_id: int | None = None


class PredictData(BaseModel):
    """What was found."""

    shapes: list[Shape]
    description: str = ""
    replace: bool = False


class PredictAnswer(BaseModel):
    """What the program reads."""

    success: bool = True
    data: PredictData


class ModelsAnswer(BaseModel):
    """The models of a server by their names."""

    success: bool = True
    data: dict[str, Any]


@router.get("/v1/models")
async def models(service: ServiceOf) -> ModelsAnswer:
    """The model twice, for photos and for sequences of frames, each with the buttons that it has a use for."""
    shown = f"evsam {service.sam.variant.name}"
    return ModelsAnswer(
        data={
            model_name(service): _described(shown, _WIDGETS, None),
            video_name(service): _described(f"{shown} video", _VIDEO_WIDGETS, "video"),
        }
    )


@router.post("/v1/predict")
async def predict(body: PredictRequest, service: ServiceOf, caller: CallerOf) -> PredictAnswer:
    """Polygons for the marks: all points belong to each of the boxes, as in the program's own server."""
    if body.model not in (model_name(service), video_name(service)):  # in a video too, where it has no marks yet
        raise Problem(404, "model", f"model: expected {model_name(service)}, got another")
    photo = photo_from_text(body.image, service.settings)
    points = [mark for mark in body.params.marks if mark.type == "point"]
    boxes = [mark for mark in body.params.marks if mark.type == "rectangle"]
    if any(len(mark.data) != 2 for mark in points) or any(len(mark.data) != 4 for mark in boxes):
        raise Problem(422, "prompt", "marks: expected 2 numbers of a point and 4 of a rectangle, got others")
    embedding = await service.embed(photo, caller)
    clicks = {"points": [mark.data for mark in points], "labels": [mark.label for mark in points]} if points else {}
    prompts = [{**clicks, "box": _corners(mark.data)} for mark in boxes] or ([clicks] if clicks else [])
    if not prompts:
        return PredictAnswer(data=PredictData(shapes=[]))

    def render(prediction: Prediction) -> list[Shape]:
        return [
            shape for one in prediction for shape in outlines(one.masks[0, 0], float(one.scores[0, 0]), body.params)
        ]

    return PredictAnswer(
        data=PredictData(shapes=await service.predict(Asked(embedding, prompts, None, True, render), caller))
    )


def model_name(service: Service) -> str:
    """Of the model for photos."""
    return f"evsam-{service.sam.variant.name}"


def video_name(service: Service) -> str:
    """Of the same model for sequences of frames; the program tells the two ways to ask apart by names of models."""
    return f"{model_name(service)}-video"


def outlines(mask: npt.NDArray[np.bool_], score: float, params: Params, group: int | None = None) -> list[Shape]:
    """The outlines of a mask (H, W); how far they may be from it is a share of the longest one's length."""
    if score < params.conf_threshold:
        return []
    longest = max((_length(polygon.outer) for polygon in trace_polygons(mask, _STEPS)), default=0.0)
    polygons = trace_polygons(mask, max(_STEPS, params.epsilon_factor * longest))
    least = _SPECK * max((polygon.area for polygon in polygons), default=0)
    rings = [polygon.outer.tolist() for polygon in polygons if polygon.area >= least]
    return [Shape(points=[*ring, ring[0]], score=min(max(score, 0.0), 1.0), group_id=group) for ring in rings]


def _described(shown: str, widgets: tuple[tuple[str, int | None], ...], batch: str | None) -> dict[str, Any]:
    described = [{"name": name, "value": value} for name, value in widgets]
    return {"display_name": shown, "widgets": described, "batch_processing_mode": batch}


def _corners(data: list[float]) -> list[float]:
    """A box drawn from any of its corners."""
    x0, y0, x1, y1 = data
    return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]


def _length(ring: Ring) -> float:
    return math.fsum(np.hypot(*(ring - np.roll(ring, 1, axis=0)).T.astype(np.float64)))
