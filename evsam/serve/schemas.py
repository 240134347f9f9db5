"""The JSON of evsam's own paths; the client reads and writes the same classes."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

_PHOTO = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAAE0lEQVR42mNgYGBgYGD4/58BAQAY+wH/u9pRzwAAAABJRU5ErkJggg=="
)  # 4 x 4 pixels, in grey

Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Point: TypeAlias = Annotated[list[Number], Field(min_length=2, max_length=2)]
Box: TypeAlias = Annotated[list[Number], Field(min_length=4, max_length=4)]

MANY = 4096
"""Entries of a list, at most: a longer one is refused before its entries cost memory and time, or an error each."""

_WORDS = 64


class _Body(BaseModel):
    """What a request says; words that nobody knows are errors."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_words(cls, values: object) -> object:
        if isinstance(values, dict) and len(values) > _WORDS:  # each that nobody knows would be an error
            raise ValueError(f"body: expected at most {_WORDS} words, got {len(values)}")
        return values


class Rle(BaseModel):
    """A mask in COCO's compressed run-length encoding."""

    size: list[int] = Field(min_length=2, max_length=2, description="height and width", examples=[[2, 2]])
    counts: str = Field(description="column by column", examples=["112"])


class Logits(BaseModel):
    """Logits as float16, little-endian, C order, in base64."""

    shape: list[int] = Field(description="(N, M, 256, 256), or (256, 256) of a prompt", max_length=4)
    data: str


class PhotoFields(_Body):
    """How requests say which photo they are about."""

    image: str | None = Field(None, description="a photo in base64, or as a data URL", examples=[_PHOTO])
    embedding: str | None = Field(None, description="handle of POST /v1/embeddings instead", max_length=100)

    def has_photo(self) -> bool:
        """Whether it brings or names a photo.

        Raises:
            ValueError: it does both.
        """
        if self.image is not None and self.embedding is not None:
            raise ValueError("image, embedding: expected one of the two, got both")
        return self.image is not None or self.embedding is not None


class PhotoBody(PhotoFields):
    """A photo, or the handle of one that was sent before."""

    @model_validator(mode="after")
    def _one(self) -> PhotoBody:
        if not self.has_photo():
            raise ValueError("image, embedding: expected one of the two, got none")
        return self


class EmbeddingBody(_Body):
    """A photo to encode."""

    image: str = Field(description="a photo in base64, or as a data URL", examples=[_PHOTO])
    wait: bool = Field(True, description="false: answer at once, and encode when nothing else waits")


class EmbeddingAnswer(BaseModel):
    """An encoded photo."""

    embedding: str = Field(description="its handle")
    size: list[int] | None = Field(description="height and width in pixels; null before it is encoded")
    variant: str
    fingerprint: str = Field(description="of the encoder's weights")


class MaskPrompt(_Body):
    """A mask as prompt: one of the two."""

    rle: Rle | None = Field(None, description="of the photo's size")
    logits: Logits | None = Field(None, description="of an earlier prediction, (256, 256)")

    @model_validator(mode="after")
    def _one(self) -> MaskPrompt:
        if (self.rle is None) == (self.logits is None):
            raise ValueError("mask: expected rle or logits, got both or none")
        return self


class Prompt(_Body):
    """One prompt: points, a box, a mask, or several of them. Coordinates are x, y in pixels of the photo."""

    points: list[Point] | None = Field(None, max_length=MANY, examples=[[[0, 0]]])
    labels: list[Literal[-1, 0, 1]] | None = Field(
        None, max_length=MANY, description="1 on the object, 0 beside it", examples=[[1]]
    )
    box: Box | None = Field(None, description="x0, y0, x1, y1")
    mask: MaskPrompt | None = None


class PredictBody(PhotoBody):
    """Prompts on a photo."""

    prompts: list[Prompt] = Field(min_length=1, max_length=MANY, examples=[[{"points": [[0, 0]], "labels": [1]}]])
    multimask: bool | None = Field(None, description="three masks for each; null: if each is a single click")
    best: bool = Field(False, description="of several masks only the one with the highest score")
    logits: bool = Field(False, description="logits too, which serve as mask prompts")


class Mask(BaseModel):
    """A mask that was predicted."""

    rle: Rle
    score: float = Field(description="the IoU that the model expects it to have with the object")
    box: list[int] = Field(description="around it: x0, y0, x1, y1 along the edges of pixels; zeros where it is empty")
    area: int = Field(description="in pixels")


class PredictAnswer(BaseModel):
    """M masks for each of N prompts."""

    embedding: str = Field(description="handle of the photo, for further prompts")
    size: list[int] = Field(description="height and width of the photo")
    prompts: list[list[Mask]]
    logits: Logits | None = None


class EverythingBody(PhotoBody):
    """Find all that is in a photo; options as those of ``Sam.segment_everything``."""

    mode: Literal["fast", "exact"] = "fast"
    points_per_side: int = Field(32, ge=1, le=64, examples=[4])
    pred_iou_thresh: float | None = Field(None, ge=-1, le=1)
    stability_score_thresh: float | None = Field(None, ge=-1, le=1)
    stability_score_offset: float = Field(1.0, ge=0, le=100)
    box_nms_thresh: float = Field(0.7, ge=0, le=1)
    min_mask_region_area: int = Field(0, ge=0, le=1_000_000)


class Found(BaseModel):
    """A mask that was found; see ``evsam.Segment``."""

    rle: Rle
    box: list[int]
    area: int
    predicted_iou: float
    stability_score: float
    point: list[float]
    crop_box: list[int]


class EverythingAnswer(BaseModel):
    """What was found in a photo, best first."""

    embedding: str
    size: list[int]
    segments: list[Found]


class Shown(Prompt):
    """An object that is shown to a tracker."""

    id: int | None = Field(None, ge=1, le=2**53, description="of one that is followed already; null for a new one")


class TrackBody(PhotoFields):
    """A frame of a session: objects are removed, then looked for, then shown. To remove some needs no photo."""

    session: str = Field(
        description="chosen by the client, not to be guessed", pattern="^[A-Za-z0-9_-]{22,64}$",
        examples=["example-session-000001"],
    )  # fmt: skip
    revision: int = Field(
        ge=0, le=2**53, description="how many requests the session has answered: a repeated one gets the same answer"
    )
    remove: list[int] = Field([], max_length=64)
    step: bool = Field(True, description="whether this is the next frame; false: objects are only shown in it")
    add: list[Shown] = Field([], max_length=64)

    @model_validator(mode="after")
    def _frame(self) -> TrackBody:
        if not self.has_photo() and (self.step or self.add):
            raise ValueError("image, embedding: expected one of the two for step and add, got none")
        return self


class Followed(BaseModel):
    """An object in a frame; see ``evsam.Track``."""

    id: int
    rle: Rle
    box: list[float]
    score: float
    lost: bool


class TrackAnswer(BaseModel):
    """A frame of a session."""

    session: str
    revision: int = Field(description="of the next request")
    size: list[int] | None = Field(description="height and width of the frame, if there was one")
    ids: list[int] = Field(description="of all objects that are followed from now on")
    added: list[int] = Field(description="numbers of the objects that were shown, in their order")
    tracks: list[Followed] = Field(description="where the objects are in this frame; empty without step")


class ModelAnswer(BaseModel):
    """The model, and what the server allows."""

    variant: str
    fingerprint: str
    engine: str
    device: str
    version: str
    decoder: bool = Field(description="whether GET /v1/model/decoder has weights")
    limits: dict[str, int | float | list[str]]
