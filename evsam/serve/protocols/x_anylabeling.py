"""The remote server of X-AnyLabeling, whose ``server_url`` ends with ``/x-anylabeling`` then."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
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
_WIDGETS = (
    ("button_add_point", None),
    ("button_remove_point", None),
    ("button_add_rect", None),
    ("button_clear", None),
    ("button_finish_object", None),
    ("mask_fineness_slider", 10),
    ("mask_fineness_value_label", None),
)
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
    """The one model that there is, and the program's buttons that it has a use for."""
    widgets = [{"name": name, "value": value} for name, value in _WIDGETS]
    described = {"display_name": f"evsam {service.sam.variant.name}", "widgets": widgets, "batch_processing_mode": None}
    return ModelsAnswer(data={_name(service): described})


@router.post("/v1/predict")
async def predict(body: PredictRequest, service: ServiceOf, caller: CallerOf) -> PredictAnswer:
    """Polygons for the marks: all points belong to each of the boxes, as in the program's own server."""
    if body.model != _name(service):
        raise Problem(404, "model", f"model: expected {_name(service)}, got another")
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
        return [shape for one in prediction for shape in _shapes(one, body.params)]

    return PredictAnswer(
        data=PredictData(shapes=await service.predict(Asked(embedding, prompts, None, True, render), caller))
    )


def _name(service: Service) -> str:
    return f"evsam-{service.sam.variant.name}"


def _corners(data: list[float]) -> list[float]:
    """A box drawn from any of its corners."""
    x0, y0, x1, y1 = data
    return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]


def _shapes(prediction: Prediction, params: Params) -> list[Shape]:
    """The outlines of the best mask; how far they may be from it is a share of the longest one's length."""
    score, mask = float(prediction.scores[0, 0]), prediction.masks[0, 0]
    if score < params.conf_threshold:
        return []
    longest = max((_length(polygon.outer) for polygon in trace_polygons(mask, _STEPS)), default=0.0)
    polygons = trace_polygons(mask, max(_STEPS, params.epsilon_factor * longest))
    least = _SPECK * max((polygon.area for polygon in polygons), default=0)
    outlines = [polygon.outer.tolist() for polygon in polygons if polygon.area >= least]
    return [Shape(points=[*outline, outline[0]], score=min(max(score, 0.0), 1.0)) for outline in outlines]


def _length(ring: Ring) -> float:
    return math.fsum(np.hypot(*(ring - np.roll(ring, 1, axis=0)).T.astype(np.float64)))
