"""CVAT's serverless functions: an interactor and a tracker, at the paths of the Nuclio dashboard that CVAT asks.

CVAT's ``CVAT_NUCLIO_HOST`` and ``CVAT_NUCLIO_PORT`` name this server then, and no Nuclio is needed.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from evsam.embedding import Embedding
from evsam.errors import EvsamError
from evsam.polygons import trace_polygons
from evsam.results import Prediction
from evsam.serve.api import CallerOf, ServiceOf
from evsam.serve.photos import photo_from_text
from evsam.serve.problems import RESPONSES, Problem
from evsam.serve.schemas import Number, Point
from evsam.serve.service import Asked, Service
from evsam.tracking import Tracker

router = APIRouter(prefix="/api", responses=RESPONSES, tags=["CVAT"])

_INTERACTOR, _TRACKER = "evsam-interactor", "evsam-tracker"
_STEPS = 1.0  # pixels that corners of the polygon may be off
_MANY = 64  # objects of a request


class Invocation(BaseModel):
    """What CVAT sends: points and a box to an interactor; shapes to begin with, or states to go on, to a tracker."""

    image: str = Field(description="in base64")
    pos_points: list[Point] = Field([], max_length=256)
    neg_points: list[Point] = Field([], max_length=256)
    obj_bbox: Annotated[list[Point], Field(max_length=2)] | None = None
    shapes: list[Annotated[list[Number], Field(min_length=4, max_length=4)] | None] = Field([], max_length=_MANY)
    states: list[str | None] = Field([], max_length=_MANY)


class TrackAnswer(BaseModel):
    """Boxes, null where an object is lost, and what is known of the objects."""

    shapes: list[list[float] | None]
    states: list[str]


@router.get("/functions")
async def functions(service: ServiceOf) -> dict[str, Any]:
    """Both functions, as the dashboard lists them."""
    return {name: _described(name, service) for name in (_INTERACTOR, _TRACKER)}


@router.get("/functions/{name}")
async def function(name: str, service: ServiceOf) -> dict[str, Any]:
    """One of them."""
    if name not in (_INTERACTOR, _TRACKER):
        raise Problem(404, "function", f"function: expected {_INTERACTOR} or {_TRACKER}, got another")
    return _described(name, service)


@router.post(
    "/function_invocations",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def invoke(
    body: Invocation, service: ServiceOf, caller: CallerOf, x_nuclio_function_name: Annotated[str, Header()]
) -> Response:
    """Call one of them: the header names it."""
    photo = photo_from_text(body.image, service.settings)
    if x_nuclio_function_name == _INTERACTOR:
        content = await _interact(body, await service.embed(photo, caller), service, caller)
    elif x_nuclio_function_name == _TRACKER:
        embedding = await service.embed(photo, caller)
        answer = await service.call(lambda: _track(body, embedding, service), caller)
        content = answer.model_dump_json().encode()
    else:
        raise Problem(404, "function", f"function: expected {_INTERACTOR} or {_TRACKER}, got another")
    return Response(content, media_type="application/json")


async def _interact(body: Invocation, embedding: Embedding, service: Service, caller: str) -> bytes:
    prompt: dict[str, Any] = {}
    points = [*body.pos_points, *body.neg_points]
    if points:
        prompt["points"] = points
        prompt["labels"] = [1] * len(body.pos_points) + [0] * len(body.neg_points)
    if body.obj_bbox:
        if len(body.obj_bbox) != 2:
            raise Problem(422, "prompt", f"obj_bbox: expected two corners, got {len(body.obj_bbox)}")
        (x0, y0), (x1, y1) = body.obj_bbox
        prompt["box"] = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
    return await service.predict(Asked(embedding, [prompt], None, True, _mask_and_polygon), caller)


def _mask_and_polygon(prediction: Prediction) -> bytes:
    """The mask as rows of 0 and 1, and the outline of its largest part."""
    mask = prediction.masks[0, 0]
    largest = max(trace_polygons(mask, _STEPS), key=lambda polygon: polygon.area, default=None)
    points = [] if largest is None else largest.outer.tolist()
    return b'{"points":%s,"mask":%s}' % (str(points).encode(), _rows(mask))


def _rows(mask: npt.NDArray[np.bool_]) -> bytes:
    """JSON of a mask's pixels, which as Python's numbers would take a second for a large photo."""
    height, width = mask.shape
    text = np.full((height, 2 * width + 2), ord(","), np.uint8)
    text[:, 0] = ord("[")
    text[:, 1:-1:2] = mask + np.uint8(ord("0"))
    text[:, -2] = ord("]")
    return b"[" + text.tobytes()[:-1] + b"]"


def _track(body: Invocation, embedding: Embedding, service: Service) -> TrackAnswer:
    count = max(len(body.shapes), len(body.states))
    shapes = [*body.shapes, *[None] * (count - len(body.shapes))]
    states = [*body.states, *[None] * (count - len(body.states))]
    answer = TrackAnswer(shapes=[], states=[])
    for shape, state in zip(shapes, states, strict=True):
        if state is not None:
            tracker = _restored(state, service)
            (track,) = tracker.step(embedding).values()
            found = None if track.lost else track.box.tolist()
        elif shape is not None:
            x0, y0, x1, y1 = shape
            tracker = Tracker(service.sam)
            tracker.add(embedding, box=[min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])
            found = shape
        else:
            raise Problem(422, "prompt", "shapes, states: expected one of the two for each object, got none")
        answer.shapes.append(found)
        answer.states.append(base64.b64encode(tracker.state()).decode())
    return answer


def _restored(state: str, service: Service) -> Tracker:
    try:
        tracker = Tracker.restore(service.sam, base64.b64decode(state, validate=True))
    except (EvsamError, binascii.Error, ValueError) as error:
        raise Problem(422, "state", f"states: expected what this function gave, got another ({error})") from error
    if len(tracker.ids) != 1:
        raise Problem(422, "state", f"states: expected one object in each, got {len(tracker.ids)}")
    return tracker


def _described(name: str, service: Service) -> dict[str, Any]:
    variant = service.sam.variant.name
    notes = {"name": f"evsam {variant}", "framework": "evsam", "spec": "", "version": "2", "type": "tracker"}
    if name == _INTERACTOR:
        notes |= {
            "type": "interactor",
            "min_pos_points": "1",
            "min_neg_points": "0",
            "startswith_box_optional": "true",
            "help_message": "Click on the object, and beside it where the mask takes too much; or draw a box first",
            "animated_gif": "",
        }
    return {
        "metadata": {"name": name, "annotations": notes, "labels": {}},
        "spec": {"description": f"evsam {variant}: {notes['type']}"},
        "status": {"state": "ready", "httpPort": service.settings.port},
    }
