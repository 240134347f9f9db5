"""osam's ``/api/generate``, for programs written for ``osam serve``."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Annotated, Literal

from fastapi import APIRouter
from PIL import Image
from pydantic import BaseModel, Field

from evsam.results import Prediction
from evsam.rle import mask_window
from evsam.serve.api import CallerOf, ServiceOf
from evsam.serve.photos import photo_from_text
from evsam.serve.problems import RESPONSES, Problem
from evsam.serve.schemas import MANY, Point
from evsam.serve.service import Asked

router = APIRouter(responses=RESPONSES, tags=["osam"])

Label = Literal[-1, 0, 1, 2, 3]
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3


class Prompt(BaseModel):
    """Points of one object; those labelled 2 and 3 are the corners of a box."""

    points: Annotated[list[Point], Field(min_length=1, max_length=MANY)] | None = None
    point_labels: Annotated[list[Label], Field(max_length=MANY)] | None = None
    texts: Annotated[list[str], Field(max_length=MANY)] | None = None


class GenerateRequest(BaseModel):
    """What osam's clients send; the name of the model means nothing here."""

    model: str
    image: str | None = Field(None, description="in base64")
    prompt: Prompt


class BoundingBox(BaseModel):
    """Of a mask; all four pixels belong to it."""

    ymin: int
    xmin: int
    ymax: int
    xmax: int


class Annotation(BaseModel):
    """An object."""

    bounding_box: BoundingBox
    text: str | None = None
    score: float
    mask: str = Field(description="a PNG of the box, in base64")


class GenerateResponse(BaseModel):
    """What osam's clients read."""

    model: str
    image_embedding: None = None
    annotations: list[Annotation]


@router.post("/api/generate")
async def generate(body: GenerateRequest, service: ServiceOf, caller: CallerOf) -> GenerateResponse:
    """The best mask for the points of an object."""
    points, labels = body.prompt.points, body.prompt.point_labels
    if points is None or labels is None or len(points) != len(labels):
        raise Problem(
            422, "prompt", "prompt: expected points and as many point_labels, got others; texts have no meaning"
        )
    if body.image is None:
        raise Problem(422, "image", "image: expected one in base64, got none; embeddings are not taken")
    photo = photo_from_text(body.image, service.settings)
    prompt: dict[str, object] = {}
    corners: dict[int, list[float]] = {
        label: point for point, label in zip(points, labels, strict=True) if label >= _TOP_LEFT
    }
    if corners:
        if sorted(label for label in labels if label >= _TOP_LEFT) != [_TOP_LEFT, _BOTTOM_RIGHT]:
            raise Problem(422, "prompt", "point_labels: expected 2 and 3 together, once, got others")
        prompt["box"] = [*corners[_TOP_LEFT], *corners[_BOTTOM_RIGHT]]
    clicks = [(point, label) for point, label in zip(points, labels, strict=True) if label < _TOP_LEFT]
    if clicks:
        prompt["points"] = [point for point, _ in clicks]
        prompt["labels"] = [label for _, label in clicks]
    asked = Asked(await service.embed(photo, caller), [prompt], None, True, _annotations)
    return GenerateResponse(model=body.model, annotations=await service.predict(asked, caller))


def _annotations(prediction: Prediction) -> list[Annotation]:
    window = mask_window(prediction.masks[0, 0])
    if not window.area:
        return []
    x0, y0, x1, y1 = window.box
    file = BytesIO()
    Image.fromarray(window.pixels * 255).save(file, "PNG")
    box = BoundingBox(ymin=y0, xmin=x0, ymax=y1 - 1, xmax=x1 - 1)
    mask = base64.b64encode(file.getvalue()).decode()
    return [Annotation(bounding_box=box, score=float(prediction.scores[0, 0]), mask=mask)]
