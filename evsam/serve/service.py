"""The model with its queue and its cache: what every path of the server asks.

A photo is encoded once, however many requests name it at the same time. Prompts of several requests on one photo are
decoded together. What a request wants of its masks is made in the thread that computed them, one prompt after the
other, so that memory does not grow with prompts.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from evsam.embedding import Embedding
from evsam.errors import EvsamError, WeightsError
from evsam.everything import Progress, Segments
from evsam.prompts import Prompts, decode, join_prompts, read_prompts
from evsam.results import DeferredPrediction, Prediction
from evsam.sam import Sam
from evsam.serve.cache import EmbeddingCache
from evsam.serve.metrics import Metrics
from evsam.serve.photos import Photo
from evsam.serve.problems import Problem
from evsam.serve.scheduler import Job, Scheduler, go_on
from evsam.serve.settings import Settings
from evsam.weights.files import tensor_file_parts
from evsam.weights.store import encoder_fingerprint, load_weights, weight_metadata

T = TypeVar("T")

_SINGLE, _AMBIGUOUS = slice(0, 1), slice(1, 4)
_CLICKS = 16  # that a unit of work of everything mode has
_WARM_UP = 3  # calls: the first ones also take memory
_HANDLE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Asked(Generic[T]):
    """Prompts on an encoded photo, and what shall become of the answer.

    Attributes:
        embedding: of the photo.
        prompts: arguments of :func:`evsam.prompts.read_prompts`, for each prompt, or what ``read`` makes them of.
        multimask: as in :meth:`evsam.Sam.predict`.
        best: whether of several masks for a prompt only the one with the highest score is wanted.
        render: makes the answer, in a thread; masks that it does not ask for are not computed.
        read: makes a prompt's arguments, in a thread, so that of masks as large as the photo there is one at a time.
    """

    embedding: Embedding
    prompts: Sequence[Any]
    multimask: bool | None
    best: bool
    render: Callable[[Prediction], T]
    read: Callable[[Any], dict[str, Any]] = dict


class Service:
    """A loaded model that many callers use. Its methods are called in one event loop.

    Args:
        sam: the model.
        settings: limits.
    """

    def __init__(self, sam: Sam, settings: Settings) -> None:
        self.sam, self.settings = sam, settings
        self.metrics = Metrics()
        self.ready = False
        self._cache = EmbeddingCache(settings.cache_bytes, self.metrics)
        self._encoding: dict[str, asyncio.Task[Embedding]] = {}  # by the photo's digest
        self._preparing: dict[str, asyncio.Task[Embedding]] = {}
        self._preparing_bytes = 0
        self._decoder: bytes | None = None
        self._scheduler = Scheduler(
            {"encode": self._encode, "predict": self._predict, "everything": self._everything, "call": _call},
            workers=settings.workers,
            batch=settings.batch,
            wait=settings.wait,
            metrics=self.metrics,
        )

    async def start(self) -> None:
        """Run the model a few times: the first request shall not pay for that, and the queue learns what jobs take."""
        await asyncio.to_thread(self._warm_up)
        self.ready = True

    async def stop(self) -> None:
        """Finish what was accepted."""
        self.ready = False
        await self._scheduler.stop()

    def handle(self, photo: Photo) -> str:
        """By what an embedding is asked for: the model's fingerprint and the photo's digest."""
        return f"{self.sam.fingerprint}-{photo.digest}"

    def known(self, handle: str) -> Embedding:
        """The embedding of a handle.

        Raises:
            Problem: it is none of this model, or not kept (any more).
        """
        fingerprint, _, digest = handle.partition("-")
        found = self._cache.get(digest) if fingerprint == self.sam.fingerprint and _HANDLE.fullmatch(digest) else None
        if found is None:
            raise Problem(404, "embedding", "embedding: expected one that is kept here, got another; send the image")
        return found

    async def embed(self, photo: Photo, caller: str) -> Embedding:
        """The embedding of a photo, from the cache or the model.

        Raises:
            Problem: the server is busy.
            ImageError: the photo cannot be read.
        """
        if (found := self._cache.get(photo.digest)) is not None:
            return found
        if (prepared := self._preparing.pop(photo.digest, None)) is not None:
            prepared.cancel()  # it would wait until nobody else does
        task = self._encoding.get(photo.digest)
        if task is None:
            task = self._encoding[photo.digest] = go_on(self._encode_and_keep(photo, caller))
            task.add_done_callback(lambda _: self._encoding.pop(photo.digest))
        return await asyncio.shield(task)  # it goes on for the cache, and for others who wait

    def prepare(self, photo: Photo, caller: str) -> None:
        """Encode a photo when nothing else waits; nobody is told if it cannot be."""
        digest, size = photo.digest, len(photo.content)
        if digest in self._encoding or digest in self._preparing or self._cache.has(digest):
            return
        if self._preparing_bytes + size > self.settings.all_body_bytes:
            return

        def done(_: asyncio.Task[Embedding]) -> None:
            self._preparing.pop(digest, None)
            self._preparing_bytes -= size

        self._preparing_bytes += size
        task = self._preparing[digest] = go_on(self._encode_and_keep(photo, caller, background=True))
        task.add_done_callback(done)

    async def prewarm(self, photo: Photo) -> bool:
        """Encode a photo when nothing else waits, and keep it if that costs no other its place; whether it is kept.

        Raises:
            Problem: too many others are to be prepared, or the server stops.
            ImageError: the photo cannot be read.
        """
        digest = photo.digest
        if digest in self._encoding or digest in self._preparing or self._cache.has(digest):
            return True

        async def encode() -> Embedding:
            embedding: Embedding = await self._scheduler.submit("encode", photo, caller="", background=True)
            return embedding

        task = self._preparing[digest] = go_on(encode())
        task.add_done_callback(lambda _: self._preparing.pop(digest, None))
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        return task.cancelled() or self._cache.put_spare(digest, task.result())  # cancelled: somebody asks for it now

    async def predict(self, asked: Asked[T], caller: str) -> T:
        """What a request's prompts come to.

        Raises:
            Problem: too many prompts, or the server is busy.
            PromptError: a prompt cannot be meant.
        """
        limits, count = self.settings, len(asked.prompts)
        height, width = asked.embedding.original_size
        masks = 1 if asked.best or asked.multimask is False else 3
        most = min(limits.prompts, limits.mask_pixels // (height * width * masks))
        if not 0 < count <= most:
            raise Problem(422, "prompt", f"prompts: expected 1 to {most} on a photo of {width} x {height}, got {count}")
        group = id(asked.embedding)  # which lives as long as jobs on it do
        result: T = await self._scheduler.submit("predict", asked, caller=caller, units=count, group=group)
        return result

    async def everything(
        self, embedding: Embedding, options: dict[str, Any], render: Callable[[Segments], T], caller: str
    ) -> T:
        """All that is found in a photo; ``options`` are those of :meth:`evsam.Sam.segment_everything`.

        Raises:
            Problem: the server is busy.
            PromptError: an option cannot be meant.
        """
        clicks = options["points_per_side"] ** 2
        job = embedding, options, render
        result: T = await self._scheduler.submit("everything", job, caller=caller, units=-(-clicks // _CLICKS))
        return result

    @property
    def has_decoder(self) -> bool:
        """Whether :meth:`decoder` has weights: the model comes from a file of weights."""
        return self.sam.weights_path is not None

    async def decoder(self, caller: str) -> bytes:
        """A safetensors file with all of the model's weights but the encoder's; read when it is first asked for.

        Raises:
            Problem: there is none, or the file that the model comes from is another one by now; or the server is busy.
        """
        if self._decoder is None:
            self._decoder = await self.call(self._read_decoder, caller)
        return self._decoder

    def _read_decoder(self) -> bytes:
        missing = Problem(404, "decoder", "decoder: expected a model from a file of weights, got another")
        if self.sam.weights_path is None:
            raise missing
        try:
            weights = load_weights(self.sam.weights_path, self.sam.variant)
        except WeightsError as error:
            raise missing from error
        if encoder_fingerprint(weights) != self.sam.fingerprint:
            raise missing
        kept = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith("image_encoder.")}
        return b"".join(tensor_file_parts(kept, weight_metadata(weights.variant)))

    async def call(self, function: Callable[[], T], caller: str) -> T:
        """What a function returns that uses the model, such as a step of a tracker.

        Raises:
            Problem: the server is busy.
        """
        result: T = await self._scheduler.submit("call", function, caller=caller)
        return result

    async def _encode_and_keep(self, photo: Photo, caller: str, background: bool = False) -> Embedding:
        embedding: Embedding = await self._scheduler.submit("encode", photo, caller=caller, background=background)
        self._cache.put(photo.digest, embedding)
        return embedding

    def _encode(self, jobs: Sequence[Job]) -> list[object]:
        return [self.sam.encode(job.payload.pixels(self.settings)) for job in jobs]

    def _predict(self, jobs: Sequence[Job]) -> list[object]:
        """Answers of jobs on one photo; each that fails fails alone."""
        read = [_attempt(self._read, job.payload) for job in jobs]
        answers: list[object] = list(read)
        for chosen in (_SINGLE, _AMBIGUOUS):
            rows = [row for row, one in enumerate(read) if isinstance(one, tuple) and one[1] is chosen]
            if not rows:
                continue
            embedding = jobs[0].payload.embedding
            together = join_prompts([read[row][0] for row in rows])
            logits, scores = decode(self.sam.engine, embedding.arrays, together.groups, chosen)
            end = 0
            for row in rows:
                begin, end = end, end + read[row][0].count
                if not jobs[row].abandoned:
                    answers[row] = _attempt(self._answer, jobs[row].payload, logits[begin:end], scores[begin:end])
        return answers

    def _read(self, asked: Asked[Any]) -> tuple[Prompts, slice]:
        prompts = join_prompts([self._read_one(asked, prompt) for prompt in asked.prompts])
        ambiguous = prompts.ambiguous if asked.multimask is None else asked.multimask
        return prompts, _AMBIGUOUS if ambiguous else _SINGLE

    def _read_one(self, asked: Asked[Any], prompt: Any) -> Prompts:
        given, most = asked.read(prompt), self.settings.points
        if len(given.get("points") or ()) > most:
            raise Problem(422, "prompt", f"points: expected at most {most} for a prompt, got more")
        sizes = asked.embedding.original_size, asked.embedding.resized_size
        return read_prompts(*sizes, **given, mask_prompt=self.sam.variant.mask_prompt)

    def _answer(self, asked: Asked[T], logits: Any, scores: Any) -> T:
        if asked.best:
            rows, best = np.arange(len(scores)), scores.argmax(1)
            logits, scores = logits[rows, best][:, None], scores[rows, best][:, None]
        embedding = asked.embedding
        sizes = embedding.resized_size, embedding.original_size
        return asked.render(DeferredPrediction(scores, logits, None, sizes, self.sam.threshold()))

    def _everything(self, jobs: Sequence[Job]) -> list[object]:
        (job,) = jobs
        embedding, options, render = job.payload

        def wanted(_: Progress) -> bool:
            return not job.abandoned

        return [render(self.sam.segment_everything(embedding, **options, callback=wanted))]

    def _warm_up(self) -> None:
        y, x = np.mgrid[:480, :640]
        pixels = np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)
        for _ in range(_WARM_UP):
            begin = time.perf_counter()
            embedding = self.sam.encode(pixels)
            encoded = time.perf_counter()
            self.sam.predict(embedding, points=[(320, 240)], labels=[1]).to_coco_rle()
            self._scheduler.measured("encode", encoded - begin)
            self._scheduler.measured("predict", time.perf_counter() - encoded)
        begin = time.perf_counter()
        self.sam.segment_everything(embedding, points_per_side=4)
        self._scheduler.measured("everything", time.perf_counter() - begin)


def _call(jobs: Sequence[Job]) -> list[object]:
    return [job.payload() for job in jobs]


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, or the error by which it says what is wrong with a request."""
    try:
        return function(*arguments)
    except (EvsamError, Problem) as error:
        return error
