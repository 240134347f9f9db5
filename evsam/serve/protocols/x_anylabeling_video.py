"""The remote server of X-AnyLabeling: objects that are shown in a frame by points are followed through the others.

The program sends all frames at once, then points, then asks for the pass through the frames, whose events it reads from
one answer in pieces.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from evsam.embedding import Embedding
from evsam.errors import EvsamError
from evsam.results import Prediction
from evsam.serve.api import CallerOf, ServiceOf
from evsam.serve.clips import Clip, Clips, Shown, Task
from evsam.serve.photos import Photo, photo_from_text
from evsam.serve.problems import RESPONSES, Problem
from evsam.serve.protocols.x_anylabeling import Params, Shape, outlines, video_name
from evsam.serve.scheduler import go_on
from evsam.serve.schemas import MANY
from evsam.serve.service import Asked, Service
from evsam.serve.settings import Settings
from evsam.tracking import Tracker

router = APIRouter(prefix="/x-anylabeling/v1/video", responses=RESPONSES, tags=["X-AnyLabeling"])

T = TypeVar("T")

_LAST = 2**53
_EVENTS = {
    "content": {"text/event-stream": {}},
    "description": "events `started`, `progress`, and `completed` with what was found or `error`",
}


def _get_clips(request: Request) -> Clips:
    clips: Clips = request.app.state.clips
    return clips


ClipsOf = Annotated[Clips, Depends(_get_clips)]
Name = Annotated[str, Field(max_length=64)]
Number = Annotated[int, Field(ge=0, le=_LAST)]
Share = Annotated[float, Field(ge=0, le=1)]


class InitRequest(BaseModel):
    """The frames, in their order."""

    model: str
    frames: list[str] = Field(min_length=1, max_length=MANY, description="data URLs, or base64; all of one size")
    start_frame_index: Number = 0


class PromptRequest(BaseModel):
    """An object in a frame; a further request about it replaces what this one says."""

    session_id: Name
    model: str
    frame_index: Number = 0
    points: list[Annotated[list[Share], Field(min_length=2, max_length=2)]] = Field(
        [], max_length=MANY, description="x, y as shares of width and height"
    )
    point_labels: list[Literal[0, 1]] = Field([], max_length=MANY)
    obj_id: Number | None = None
    text_prompt: str | None = Field(None, description="means nothing here: refused")
    params: Params = Field(default_factory=Params)


class PropagateRequest(BaseModel):
    """Which frames are wanted."""

    session_id: Name
    model: str
    start_frame: Number | None = Field(None, description="the first one; null: where an object was shown first")
    end_frame: Number | None = Field(None, description="the last one; null: the last one that there is")


class Session(BaseModel):
    """A sequence of frames."""

    session_id: str
    num_frames: int
    start_frame_index: int


class Prompted(BaseModel):
    """An object in the frame in which it was shown."""

    frame_index: int
    masks: list[Shape]
    num_objects: int


class Started(BaseModel):
    """A pass through the frames."""

    task_id: str
    status: str


class InitAnswer(BaseModel):
    """What the program reads."""

    success: bool = True
    data: Session


class PromptAnswer(BaseModel):
    """What the program reads."""

    success: bool = True
    data: Prompted


class PropagateAnswer(BaseModel):
    """What programs read."""

    success: bool = True
    data: Started


class MessageAnswer(BaseModel):
    """What the program reads."""

    success: bool = True
    data: dict[str, str]


@dataclass(frozen=True)
class _Pass:
    """A way through the frames, as it was asked for.

    Attributes:
        clip: whose frames.
        shown: the objects, as they were shown when it was asked for.
        begin: index of the frame where the first object is shown that is followed.
        start: index of the first frame that is wanted.
        end: index behind the last one.
    """

    clip: Clip
    shown: dict[int, dict[int, Shown]]
    begin: int
    start: int
    end: int


@router.post("/init")
async def init(body: InitRequest, service: ServiceOf, caller: CallerOf, clips: ClipsOf) -> InitAnswer:
    """Keep frames, in memory, until the program is done with them or idle."""
    _check_model(body.model, service)
    frames = await asyncio.to_thread(_read_frames, body.frames, service.settings)
    clip = clips.begin(frames, body.start_frame_index, caller)
    return InitAnswer(
        data=Session(session_id=clip.name, num_frames=len(frames), start_frame_index=body.start_frame_index)
    )


@router.post("/prompt")
async def prompt(body: PromptRequest, service: ServiceOf, caller: CallerOf, clips: ClipsOf) -> PromptAnswer:
    """Show an object by points, and get its outlines in that frame."""
    _check_model(body.model, service)
    clip = clips.get(body.session_id)
    index = _index(clip, body.frame_index, "frame_index")
    if body.text_prompt or not body.points:
        raise Problem(422, "prompt", f"points: expected some, got {'a text' if body.text_prompt else 'none'}")
    if len(body.points) != len(body.point_labels):
        count = len(body.points)
        raise Problem(422, "prompt", f"point_labels: expected {count} as of points, got {len(body.point_labels)}")
    number = 1 if body.obj_id is None else body.obj_id
    most = service.settings.objects
    if number not in clip.shown and len(clip.shown) >= most:
        raise Problem(422, "objects", f"objects: expected at most {most} in a session, got more")
    embedding = await service.embed(clip.frames[index], caller)
    height, width = embedding.original_size
    points = [[min(x * width, width - 1), min(y * height, height - 1)] for x, y in body.points]
    given = {"points": points, "labels": body.point_labels}

    def render(prediction: Prediction) -> tuple[bool, list[Shape]]:
        mask, score = prediction.masks[0, 0], float(prediction.scores[0, 0])
        return bool(mask.any()), outlines(mask, score, body.params, number)

    there, shapes = await service.predict(Asked(embedding, [given], None, True, render), caller)
    frames = clip.shown.setdefault(number, {})
    frames.pop(index, None)
    if there:  # nothing cannot be followed
        frames[index] = Shown(given, body.params, shapes)
    if not frames:
        clip.shown.pop(number, None)
    return PromptAnswer(data=Prompted(frame_index=body.frame_index, masks=shapes, num_objects=len(shapes)))


@router.post("/propagate/stream", response_class=Response, responses={200: _EVENTS})
async def propagate_stream(
    body: PropagateRequest, service: ServiceOf, caller: CallerOf, clips: ClipsOf
) -> StreamingResponse:
    """Follow the objects, and tell of it frame by frame."""
    events = _events(_pass(body, service, clips), service, caller, clips)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.post("/propagate")
async def propagate(body: PropagateRequest, service: ServiceOf, caller: CallerOf, clips: ClipsOf) -> PropagateAnswer:
    """Follow the objects, and answer at once; what was found is asked for by the name of the task."""
    wanted = _pass(body, service, clips)
    clip = wanted.clip
    if clip.task is not None:
        clip.task.cancel()
        clips.keep(clip, -sum(map(len, clip.task.found)))
    task = clip.task = Task(secrets.token_urlsafe(24), wanted.end - wanted.begin)
    task.running = go_on(_go_through(task, wanted, service, caller, clips))
    return PropagateAnswer(data=Started(task_id=task.name, status=task.status))


@router.get("/status/{task_id}", response_class=Response)
async def status(task_id: Annotated[str, Path(max_length=64)], clips: ClipsOf) -> Response:
    """How far a task is, and what it found once it is completed."""
    task = clips.task(task_id)
    data = {
        "status": task.status,
        "progress": task.done / task.count,
        "current_frame": task.current,
        "total_frames": task.count,
    }
    if task.status == "failed":
        data["error"] = task.error
    head = json.dumps(data).encode()
    if task.status == "completed":
        head = b'%s, "results": {%s}}' % (head[:-1], b",".join(task.found))
    return Response(b'{"success": true, "data": %s}' % head, media_type="application/json")


@router.post("/cancel/{task_id}")
async def cancel(task_id: Annotated[str, Path(max_length=64)], clips: ClipsOf) -> MessageAnswer:
    """End a task."""
    task = clips.task(task_id)
    task.cancel()
    return MessageAnswer(data={"message": task.status})


@router.post("/cleanup/{session_id}")
async def cleanup(session_id: Annotated[str, Path(max_length=64)], clips: ClipsOf) -> MessageAnswer:
    """Forget frames and objects."""
    clips.get(session_id)
    clips.end(session_id)
    return MessageAnswer(data={"message": "forgotten"})


def _check_model(name: str, service: Service) -> None:
    if name != video_name(service):
        raise Problem(404, "model", f"model: expected {video_name(service)}, got another")


def _read_frames(texts: list[str], settings: Settings) -> list[Photo]:
    """Frames whose headers say that they can be frames of one video."""
    frames, size = [], None
    for number, text in enumerate(texts):
        try:
            frame = photo_from_text(text, settings)
            found = frame.size(settings)
        except (EvsamError, Problem) as error:
            status = error.status if isinstance(error, Problem) else 422
            raise Problem(status, "image", f"frames[{number}]: {error}") from error
        size = size or found
        if found != size:
            shown = " x ".join(map(str, found[::-1]))
            raise Problem(422, "image", f"frames[{number}]: expected {size[1]} x {size[0]} as the first, got {shown}")
        frames.append(frame)
    return frames


def _index(clip: Clip, number: int, what: str) -> int:
    """Of a frame, by its number."""
    index = number - clip.first
    if not 0 <= index < len(clip.frames):
        last = clip.first + len(clip.frames) - 1
        raise Problem(422, "frame", f"{what}: expected {clip.first} to {last}, got {number}")
    return index


def _pass(body: PropagateRequest, service: Service, clips: Clips) -> _Pass:
    """What a request asks for.

    An object is followed from where it was shown last before the first frame that is wanted, otherwise from where it is
    shown first.
    """
    _check_model(body.model, service)
    clip = clips.get(body.session_id)
    count = len(clip.frames)
    end = count if body.end_frame is None else _index(clip, body.end_frame, "end_frame") + 1
    if not clip.shown:
        raise Problem(422, "prompt", "session: expected one in which an object was shown, got one without")
    start = min(min(frames) for frames in clip.shown.values())
    if body.start_frame is not None:
        start = _index(clip, body.start_frame, "start_frame")
    if start >= end:
        raise Problem(422, "frame", f"end_frame: expected {start + clip.first} or more, got {end - 1 + clip.first}")
    shown = {}
    for number, frames in clip.shown.items():
        begin = max((index for index in frames if index <= start), default=start)
        shown[number] = {index: one for index, one in frames.items() if begin <= index < end}
    firsts = [min(frames) for frames in shown.values() if frames]
    return _Pass(clip, shown, min([start, *firsts]), start, end)


async def _events(wanted: _Pass, service: Service, caller: str, clips: Clips) -> AsyncIterator[bytes]:
    clip, count, done = wanted.clip, len(wanted.clip.frames), 0
    found: list[bytes] = []
    yield _event({"type": "started", "total_frames": count, "start_frame_index": clip.first})
    try:
        async with aclosing(_follow(wanted, service, caller)) as frames:
            async for index, frame in frames:
                done += 1
                if frame:
                    clips.keep(clip, len(frame))
                    found.append(frame)
                progress = done / (wanted.end - wanted.begin)
                event = {"type": "progress", "current_frame": index + clip.first, "total_frames": count}
                yield _event({**event, "progress": progress})
        yield b'data: {"type": "completed", "results": {'
        for number, frame in enumerate(found):
            yield b"," * bool(number) + frame
        yield b"}}\n\n"
    except (EvsamError, Problem) as error:
        yield _event({"type": "error", "message": str(error)})
    finally:
        clips.keep(clip, -sum(map(len, found)))


async def _go_through(task: Task, wanted: _Pass, service: Service, caller: str, clips: Clips) -> None:
    try:
        async for index, frame in _follow(wanted, service, caller):
            task.done, task.current = task.done + 1, index + wanted.clip.first
            if frame:
                clips.keep(wanted.clip, len(frame))
                task.found.append(frame)
        task.status = "completed"
    except (EvsamError, Problem) as error:
        task.status, task.error = "failed", str(error)
    except Exception:
        task.status, task.error = "failed", "server: expected to follow the objects, got an error"
        raise


async def _follow(wanted: _Pass, service: Service, caller: str) -> AsyncGenerator[tuple[int, bytes], None]:
    """The index of each frame and the JSON of what is in it; empty of frames that are not wanted."""
    follower = _Follower(wanted, service)
    with wanted.clip.under_way():
        for index in range(wanted.begin, wanted.end):
            yield index, await _patiently(partial(follower.step, index, caller), service.settings.seconds / 2)


class _Follower:
    """Goes through frames with a tracker."""

    def __init__(self, wanted: _Pass, service: Service) -> None:
        self._wanted, self._service = wanted, service
        self._tracker = Tracker(service.sam)
        self._followed: dict[int, tuple[int, Shown]] = {}  # the tracker's number of an object, and its last prompt

    async def step(self, index: int, caller: str) -> bytes:
        """Go to the next frame; if that is refused, nothing has happened."""
        photo = self._wanted.clip.frames[index]
        here = {number: frames[index] for number, frames in self._wanted.shown.items() if index in frames}
        embedding = None
        if here:  # encoded as when it was shown, so that it is likely to be kept
            embedding = await self._service.embed(photo, caller)
        return await self._service.call(partial(self._step, index, photo, embedding, here), caller)

    def _step(self, index: int, photo: Photo, embedding: Embedding | None, here: dict[int, Shown]) -> bytes:
        """Look for the objects, then show those that are shown in this frame; in a thread."""
        image = photo.pixels(self._service.settings) if embedding is None else embedding
        shapes: dict[int, list[Shape]] = {}
        if self._followed:
            tracks = self._tracker.step(image)
            for number, (own, last) in self._followed.items():
                track = tracks[own]
                if not track.lost:
                    shapes[number] = outlines(track.mask, track.score, last.params, number)
        for number, one in here.items():
            before, _ = self._followed.get(number, (None, None))
            self._followed[number] = self._tracker.add(image, **one.prompt, id=before), one
            shapes[number] = one.answer
        if index < self._wanted.start:
            return b""
        masks = [shape.model_dump() for number in sorted(shapes) for shape in shapes[number]]
        return b'"%d": {"masks": %s}' % (index + self._wanted.clip.first, json.dumps(masks).encode())


async def _patiently(work: Callable[[], Awaitable[T]], seconds: float) -> T:
    """What work comes to; where the queue is too long, it is asked again for some time."""
    end = time.monotonic() + seconds
    while True:
        try:
            return await work()
        except Problem as problem:
            wait = max(problem.retry_after or 0.0, 0.1)
            if problem.status != 429 or time.monotonic() + wait > end:
                raise
        await asyncio.sleep(wait)


def _event(content: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % json.dumps(content).encode()
