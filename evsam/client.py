"""A model on a server, with the methods of a model in the process: ``evsam serve`` answers, :class:`Client` asks.

What a call sends and what it makes of the answer is written once, as a generator that yields requests; the two clients
differ in who sends them. Every request may be sent twice without harm (embeddings and masks depend on nothing else, and
requests of a tracker are numbered), so those that a busy server refuses, or whose answer gets lost, are sent again.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import random
import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.arguments import shown
from evsam.embedding import Embedding
from evsam.errors import BackendUnavailable, EvsamError, ImageError, PromptError
from evsam.everything import Segment, Segments
from evsam.images import ImageLike, Scale16, read_image
from evsam.prompts import photo_prompts, read_prompts, split_prompts
from evsam.results import Prediction
from evsam.rle import Box, decode_rle, encode_rle
from evsam.tracking import Track, Tracks
from evsam.transforms import fitted_size
from evsam.weights.files import parse_tensor_file
from evsam.zoo import LOGITS_SIZE

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_AS_THEY_ARE = ("JPEG", "PNG", "WEBP", "BMP")  # formats of photos that are sent as files; others become PNG
_BUSY = (429, 503)
_ERRORS = {"image": ImageError, "prompt": PromptError}
_LONGEST = 30.0  # seconds between two attempts
_UNKNOWN = "embedding"  # the server's word for a handle that it does not keep


class ServerError(EvsamError):
    """The server refused a request, or could not be reached.

    Attributes:
        status: HTTP's number; 0 where there was no answer.
        code: the server's word for the reason.
    """

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class RemoteEmbedding:
    """An encoded photo that a server keeps, by its handle.

    The photo stays at hand: a server that has dropped the embedding meanwhile gets it again.

    Attributes:
        handle: what the server calls it.
        original_size: height and width of the photo in pixels.
        variant: name of the model variant.
        fingerprint: digest of the encoder's weights.
    """

    handle: str
    original_size: tuple[int, int]
    variant: str
    fingerprint: str
    photo: str = field(repr=False)

    @property
    def resized_size(self) -> tuple[int, int]:
        """Height and width of the photo in the 1024 frame."""
        return fitted_size(self.original_size)


Photo: TypeAlias = "RemoteEmbedding | ImageLike"


@dataclass(frozen=True)
class _Ask:
    method: str
    path: str
    body: Mapping[str, Any] | None = None


_Calls: TypeAlias = "Generator[_Ask, httpx.Response, T]"


class _Common:
    """What both clients do, but for the sending."""

    def __init__(self, url: str, token: str | None, timeout: float, retries: int) -> None:
        try:
            import httpx
        except ImportError as error:
            raise BackendUnavailable("evsam.Client needs httpx; use pip install 'evsam[serve]'") from error
        self._retries, self._lost = retries, httpx.TransportError
        self._options: dict[str, Any] = {
            "base_url": url,
            "timeout": timeout,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
        }

    def __reduce__(self) -> NoReturn:
        raise EvsamError("client: expected to stay in its process, got pickled or copied; make one in each")

    def _pause(self, attempt: int, response: httpx.Response | None) -> float:
        """Seconds before the next attempt: what the server says, or longer from one to the next."""
        asked = response.headers.get("Retry-After", "") if response is not None else ""
        seconds = float(asked) if asked.isdigit() else 0.1 * 2**attempt
        return min(seconds, _LONGEST) * random.uniform(1.0, 1.25)  # noqa: S311 - spreads clients, no secret


class Client(_Common):
    """A model on a server: the methods of :class:`evsam.Sam`, for the same arguments and with the same results.

    It may be used from several threads.

    Args:
        url: of the server, for example ``http://127.0.0.1:8000``.
        token: the server's, if it has one.
        timeout: seconds to wait for a connection, and for each answer.
        retries: how often a request is sent again, where the server is busy or does not answer.

    Example:
        >>> with evsam.Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     embedding = client.encode("photo.jpg")
        ...     client.predict(embedding, box=(20, 10, 90, 70)).masks.shape
        (1, 1, 80, 120)
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 5) -> None:
        super().__init__(url, token, timeout, retries)
        import httpx

        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Client:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def model(self) -> dict[str, Any]:
        """Variant, fingerprint and engine of the model, and the server's limits."""
        return self._run(_model())

    def encode(self, image: ImageLike, *, bgr: bool = False, scale_16bit: Scale16 | None = None) -> RemoteEmbedding:
        """As :meth:`evsam.Sam.encode`, for one image; the embedding stays on the server."""
        return self._run(_encode(image, bgr, scale_16bit))

    def fetch(self, embedding: RemoteEmbedding) -> Embedding:
        """An embedding's maps, rounded to float16, for a model in this process."""
        return self._run(_fetch(embedding))

    def predict(
        self,
        image: Photo,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        multimask: bool | None = None,
        logits: bool = True,
        bgr: bool = False,
        scale_16bit: Scale16 | None = None,
    ) -> Prediction:
        """As :meth:`evsam.Sam.predict`. Logits are rounded to float16.

        Args:
            image: what :meth:`encode` gave, or an image.
            points: as there, and so are the next five.
            labels: see there.
            box: see there.
            boxes: see there.
            mask: see there.
            multimask: see there.
            logits: False leaves them out of the answer, 170 kB for each mask; they are NaN then.
            bgr: see there.
            scale_16bit: see there.

        Raises:
            PromptError: as there.
            ImageError: as there.
            ServerError: the server cannot be reached, or stays busy.
        """
        given = {"points": points, "labels": labels, "box": box, "boxes": boxes, "mask": mask}
        return self._run(_predict(image, given, multimask, logits, bgr, scale_16bit))

    def segment_everything(
        self, image: Photo, *, bgr: bool = False, scale_16bit: Scale16 | None = None, **options: Any
    ) -> Segments:
        """As :meth:`evsam.Sam.segment_everything`, without crops, grids of one's own and callbacks.

        Args:
            image: what :meth:`encode` gave, or an image.
            bgr: as there.
            scale_16bit: as there.
            **options: ``mode``, ``points_per_side``, ``pred_iou_thresh``, ``stability_score_thresh``,
                ``stability_score_offset``, ``box_nms_thresh`` and ``min_mask_region_area`` of it.
        """
        return self._run(_everything(image, options, bgr, scale_16bit))

    def track(self, frame: Photo | None = None, *, bgr: bool = False, **prompt: Any) -> RemoteTracker:
        """As :meth:`evsam.Sam.track`, without a window; what is known of the objects stays on the server."""
        tracker = RemoteTracker(self, _Session(bgr))
        if frame is not None:
            tracker.add(frame, **prompt)
        elif prompt:
            raise _no_frame(prompt)
        return tracker

    def _run(self, calls: _Calls[T]) -> T:
        try:
            ask = next(calls)
            while True:
                ask = calls.send(self._send(ask))
        except StopIteration as done:
            return cast("T", done.value)

    def _send(self, ask: _Ask) -> httpx.Response:
        attempt, response = 0, None
        while True:
            try:
                response = self._http.request(ask.method, ask.path, json=ask.body)
                if response.status_code not in _BUSY or attempt >= self._retries:
                    return response
            except self._lost as error:
                if attempt >= self._retries:
                    raise _unreachable(error) from error
            time.sleep(self._pause(attempt, response))
            attempt, response = attempt + 1, None


class AsyncClient(_Common):
    """:class:`Client` for ``asyncio``: the same methods, to be awaited.

    Args:
        url: see there, and so are the others.
        token: see there.
        timeout: see there.
        retries: see there.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 5) -> None:
        super().__init__(url, token, timeout, retries)
        import httpx

        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> AsyncClient:  # noqa: PYI034
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """See :meth:`Client.close`."""
        await self._http.aclose()

    async def model(self) -> dict[str, Any]:
        """See :meth:`Client.model`."""
        return await self._run(_model())

    async def encode(
        self, image: ImageLike, *, bgr: bool = False, scale_16bit: Scale16 | None = None
    ) -> RemoteEmbedding:
        """See :meth:`Client.encode`."""
        return await self._run(_encode(image, bgr, scale_16bit))

    async def fetch(self, embedding: RemoteEmbedding) -> Embedding:
        """See :meth:`Client.fetch`."""
        return await self._run(_fetch(embedding))

    async def predict(
        self,
        image: Photo,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        multimask: bool | None = None,
        logits: bool = True,
        bgr: bool = False,
        scale_16bit: Scale16 | None = None,
    ) -> Prediction:
        """See :meth:`Client.predict`."""
        given = {"points": points, "labels": labels, "box": box, "boxes": boxes, "mask": mask}
        return await self._run(_predict(image, given, multimask, logits, bgr, scale_16bit))

    async def segment_everything(
        self, image: Photo, *, bgr: bool = False, scale_16bit: Scale16 | None = None, **options: Any
    ) -> Segments:
        """See :meth:`Client.segment_everything`."""
        return await self._run(_everything(image, options, bgr, scale_16bit))

    async def track(self, frame: Photo | None = None, *, bgr: bool = False, **prompt: Any) -> AsyncRemoteTracker:
        """See :meth:`Client.track`."""
        tracker = AsyncRemoteTracker(self, _Session(bgr))
        if frame is not None:
            await tracker.add(frame, **prompt)
        elif prompt:
            raise _no_frame(prompt)
        return tracker

    async def _run(self, calls: _Calls[T]) -> T:
        try:
            ask = next(calls)
            while True:
                ask = calls.send(await self._send(ask))
        except StopIteration as done:
            return cast("T", done.value)

    async def _send(self, ask: _Ask) -> httpx.Response:
        attempt, response = 0, None
        while True:
            try:
                response = await self._http.request(ask.method, ask.path, json=ask.body)
                if response.status_code not in _BUSY or attempt >= self._retries:
                    return response
            except self._lost as error:
                if attempt >= self._retries:
                    raise _unreachable(error) from error
            await asyncio.sleep(self._pause(attempt, response))
            attempt, response = attempt + 1, None


class _Session:
    """What a client knows of a session."""

    def __init__(self, bgr: bool) -> None:
        self.name = secrets.token_urlsafe(24)
        self.bgr = bgr
        self.revision = 0
        self.ids: tuple[int, ...] = ()


class RemoteTracker:
    """A tracker on a server, as :class:`evsam.Tracker`. Made by :meth:`Client.track`; for one thread at a time."""

    def __init__(self, client: Client, session: _Session) -> None:
        self._client, self._session = client, session

    @property
    def ids(self) -> tuple[int, ...]:
        """Numbers of the objects, in the order in which they were added."""
        return self._session.ids

    def add(
        self,
        frame: Photo,
        *,
        id: int | None = None,  # noqa: A002 - what it is called in results
        **prompt: Any,
    ) -> int:
        """As :meth:`evsam.Tracker.add`."""
        return self._client._run(_add(self._session, frame, id, prompt))

    def step(self, frame: Photo) -> Tracks:
        """As :meth:`evsam.Tracker.step`."""
        return self._client._run(_step(self._session, frame))

    def remove(self, id: int) -> None:  # noqa: A002
        """As :meth:`evsam.Tracker.remove`."""
        self._client._run(_remove(self._session, id))

    def close(self) -> None:
        """Let the server forget the session."""
        self._client._run(_end(self._session))


class AsyncRemoteTracker:
    """:class:`RemoteTracker` for ``asyncio``. Made by :meth:`AsyncClient.track`."""

    def __init__(self, client: AsyncClient, session: _Session) -> None:
        self._client, self._session = client, session

    @property
    def ids(self) -> tuple[int, ...]:
        """See :attr:`RemoteTracker.ids`."""
        return self._session.ids

    async def add(self, frame: Photo, *, id: int | None = None, **prompt: Any) -> int:  # noqa: A002
        """See :meth:`RemoteTracker.add`."""
        return await self._client._run(_add(self._session, frame, id, prompt))

    async def step(self, frame: Photo) -> Tracks:
        """See :meth:`RemoteTracker.step`."""
        return await self._client._run(_step(self._session, frame))

    async def remove(self, id: int) -> None:  # noqa: A002
        """See :meth:`RemoteTracker.remove`."""
        await self._client._run(_remove(self._session, id))

    async def close(self) -> None:
        """See :meth:`RemoteTracker.close`."""
        await self._client._run(_end(self._session))


def _model() -> _Calls[dict[str, Any]]:
    return _answer((yield _Ask("GET", "/v1/model")))


def _encode(image: ImageLike, bgr: bool, scale_16bit: Scale16 | None) -> _Calls[RemoteEmbedding]:
    photo = base64.b64encode(_file(image, bgr, scale_16bit)).decode()
    answer = _answer((yield _Ask("POST", "/v1/embeddings", {"image": photo})))
    height, width = answer["size"]
    return RemoteEmbedding(answer["embedding"], (height, width), answer["variant"], answer["fingerprint"], photo)


def _fetch(embedding: RemoteEmbedding) -> _Calls[Embedding]:
    response = yield _Ask("GET", f"/v1/embeddings/{embedding.handle}")
    if _unknown(response):
        _answer((yield _Ask("POST", "/v1/embeddings", {"image": embedding.photo})))
        response = yield _Ask("GET", f"/v1/embeddings/{embedding.handle}")
    if response.status_code != 200:
        _answer(response)
    file = parse_tensor_file(np.frombuffer(response.content, np.uint8))
    maps = {name: np.array(tensor, np.float32) for name, tensor in file.tensors.items()}
    return Embedding(
        maps.pop("features"),
        tuple(maps.pop(f"lateral.{i}") for i in range(len(maps))),
        embedding.original_size,
        embedding.resized_size,
        embedding.variant,
        embedding.fingerprint,
    )


def _predict(
    image: Photo,
    given: dict[str, Any],
    multimask: bool | None,
    logits: bool,
    bgr: bool,
    scale_16bit: Scale16 | None,
) -> _Calls[Prediction]:
    embedding = yield from _encoded(image, bgr, scale_16bit)
    sizes = embedding.original_size, embedding.resized_size
    checked = read_prompts(*sizes, **given)
    prompts = _prompts(given, checked.count)
    masks = 3 if (checked.ambiguous if multimask is None else multimask) else 1
    if not prompts:
        return _prediction(np.empty((0, masks, *sizes[0]), bool), [], None, None)
    body = {"prompts": prompts, "multimask": multimask, "logits": logits}
    answer = yield from _on_photo("/v1/predict", embedding, body)
    found = answer["prompts"]
    planes = np.stack([np.stack([decode_rle(mask["rle"]) for mask in own]) for own in found])
    scores = [[mask["score"] for mask in own] for own in found]
    return _prediction(planes, scores, answer["logits"], photo_prompts(checked, *sizes))


def _prediction(masks: Any, scores: Any, logits: dict[str, Any] | None, prompts: Any) -> Prediction:
    shape = (*masks.shape[:2], LOGITS_SIZE, LOGITS_SIZE)
    if logits is None:
        values = np.full(shape, np.nan, np.float32)
    else:
        values = np.frombuffer(base64.b64decode(logits["data"]), "<f2").reshape(shape).astype(np.float32)
    return Prediction(masks, np.array(scores, np.float32).reshape(masks.shape[:2]), values, prompts)


def _prompts(given: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Prompts as the server takes them."""
    mask = given["mask"]
    prompts = split_prompts(**{name: value for name, value in given.items() if name != "mask"})
    if mask is None:
        return prompts
    planes = np.asarray(mask)
    planes = planes.reshape(-1, *planes.shape[-2:])
    prompts = prompts or [{} for _ in range(count)]
    for prompt, plane in zip(prompts, planes, strict=True):
        if plane.dtype.kind == "f":
            half = plane.clip(-65504, 65504).astype("<f2")
            logits = {"shape": list(half.shape), "data": base64.b64encode(half.tobytes()).decode()}
            prompt["mask"] = {"logits": logits}
        else:
            prompt["mask"] = {"rle": encode_rle(plane)}
    return prompts


def _everything(image: Photo, options: dict[str, Any], bgr: bool, scale_16bit: Scale16 | None) -> _Calls[Segments]:
    embedding = yield from _encoded(image, bgr, scale_16bit)
    answer = yield from _on_photo("/v1/everything", embedding, options)
    found = [
        Segment(**{**one, "box": _box(one["box"]), "crop_box": _box(one["crop_box"]), "point": tuple(one["point"])})
        for one in answer["segments"]
    ]
    return Segments(found, embedding.original_size)


def _no_frame(prompt: Mapping[str, Any]) -> PromptError:
    return PromptError(f"frame: expected the one that {', '.join(prompt)} belongs to, got None")


def _add(session: _Session, frame: Photo, number: int | None, prompt: dict[str, Any]) -> _Calls[int]:
    embedding = yield from _encoded(frame, session.bgr, None)
    given = {name: prompt.pop(name, None) for name in ("points", "labels", "box", "mask")}
    if prompt:
        raise PromptError(f"prompt: expected points, labels, box and mask, got {shown(list(prompt))}")
    checked = read_prompts(embedding.original_size, embedding.resized_size, **given)
    if checked.count != 1:
        raise PromptError(f"prompt: expected one object, got {checked.count} prompts")
    (shown_object,) = _prompts({**given, "boxes": None}, 1)
    answer = yield from _tell(session, embedding, {"step": False, "add": [{**shown_object, "id": number}]})
    return int(answer["added"][0])


def _step(session: _Session, frame: Photo) -> _Calls[Tracks]:
    embedding = yield from _encoded(frame, session.bgr, None)
    answer = yield from _tell(session, embedding, {"step": True})
    tracks = {
        one["id"]: Track(one["id"], decode_rle(one["rle"]), np.array(one["box"], np.float32), one["score"], one["lost"])
        for one in answer["tracks"]
    }
    return Tracks(tracks, embedding.original_size)


def _remove(session: _Session, number: int) -> _Calls[None]:
    yield from _tell(session, None, {"step": False, "remove": [number]})


def _end(session: _Session) -> _Calls[None]:
    yield _Ask("DELETE", f"/v1/track/{session.name}")


def _tell(session: _Session, embedding: RemoteEmbedding | None, change: dict[str, Any]) -> _Calls[dict[str, Any]]:
    body = {"session": session.name, "revision": session.revision, **change}
    if embedding is None:
        answer = _answer((yield _Ask("POST", "/v1/track", body)))
    else:
        answer = yield from _on_photo("/v1/track", embedding, body)
    session.revision, session.ids = answer["revision"], tuple(answer["ids"])
    return answer


def _encoded(image: Photo, bgr: bool, scale_16bit: Scale16 | None) -> _Calls[RemoteEmbedding]:
    if isinstance(image, RemoteEmbedding):
        return image
    return (yield from _encode(image, bgr, scale_16bit))


def _on_photo(path: str, embedding: RemoteEmbedding, body: dict[str, Any]) -> _Calls[dict[str, Any]]:
    """The answer to a request on a photo; by its handle, and with the photo where the server has dropped it."""
    response = yield _Ask("POST", path, {**body, "embedding": embedding.handle})
    if _unknown(response):
        response = yield _Ask("POST", path, {**body, "image": embedding.photo})
    return _answer(response)


def _unknown(response: httpx.Response) -> bool:
    return response.status_code == 404 and _error(response)[0] == _UNKNOWN


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code < 300:
        found: dict[str, Any] = response.json() if response.content else {}
        return found
    code, message = _error(response)
    if code in _ERRORS:
        raise _ERRORS[code](message)
    raise ServerError(f"server: {response.status_code}: {message}", response.status_code, code)


def _error(response: httpx.Response) -> tuple[str, str]:
    try:
        error = response.json()["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):  # of something else on the way
        return "", response.text[:200]


def _unreachable(error: httpx.TransportError) -> ServerError:
    return ServerError(f"server: expected an answer, got none ({type(error).__name__}: {error})")


def _file(image: ImageLike, bgr: bool, scale_16bit: Scale16 | None) -> bytes:
    """An image as a file that every server takes: as it is, or as PNG."""
    content: bytes | None = None
    if isinstance(image, (str, os.PathLike)):
        try:
            content = Path(image).read_bytes()
        except OSError as error:
            raise ImageError(f"image: expected the path of an image, got {os.fspath(image)!r} ({error})") from error
    elif isinstance(image, (bytes, bytearray, memoryview)):
        content = bytes(image)
    if content is not None and scale_16bit is None:
        try:
            with Image.open(io.BytesIO(content), formats=_AS_THEY_ARE):
                return content
        except OSError:  # another format
            pass
    pixels = read_image(image if content is None else content, bgr=bgr, scale_16bit=scale_16bit)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _box(values: Sequence[int]) -> Box:
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1
