"""evsam's own paths, ``/v1/...``: masks for prompts, for all that is in a photo, and for objects through frames."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Path, Request, Response

from evsam.embedding import Embedding
from evsam.everything import Segments
from evsam.results import Prediction
from evsam.rle import decode_rle, encode_rle, mask_extent, rle_size
from evsam.serve import schemas
from evsam.serve.pages import tag_of, tagged
from evsam.serve.photos import photo_from_text
from evsam.serve.problems import RESPONSES, Problem
from evsam.serve.service import Asked, Service
from evsam.serve.sessions import Sessions
from evsam.tracking import Tracker
from evsam.weights.files import tensor_file_parts
from evsam.zoo import LOGITS_SIZE

router = APIRouter(prefix="/v1", responses=RESPONSES, tags=["evsam"])


def get_service(request: Request) -> Service:
    """The model, for paths of any module."""
    service: Service = request.app.state.service
    return service


def get_caller(request: Request) -> str:
    """Who asks, for turns in the queue: the address that the request came from."""
    return request.client.host if request.client else ""


ServiceOf = Annotated[Service, Depends(get_service)]
CallerOf = Annotated[str, Depends(get_caller)]


@router.get("/model")
async def model(service: ServiceOf) -> schemas.ModelAnswer:
    """The model, and what the server allows."""
    from evsam import __version__

    sam, limits = service.sam, service.settings
    names = ("photo_bytes", "photo_pixels", "formats", "prompts", "points", "mask_pixels", "objects", "seconds")
    return schemas.ModelAnswer(
        variant=sam.variant.name,
        fingerprint=sam.fingerprint,
        engine=sam.engine.name,
        device=sam.device,
        version=__version__,
        decoder=service.has_decoder,
        limits={name: list(value) if isinstance(value := getattr(limits, name), tuple) else value for name in names},
    )


@router.get(
    "/model/decoder",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "a safetensors file"}},
)
async def decoder(service: ServiceOf, caller: CallerOf, request: Request) -> Response:
    """The weights of the model's decoder alone, for masks from embeddings elsewhere: evsam's npm package reads them."""
    content = await service.decoder(caller)
    return tagged(request, content, tag_of(content), "application/octet-stream", {})


@router.post("/embeddings", responses={202: {"model": schemas.EmbeddingAnswer, "description": "will be encoded"}})
async def embeddings(
    body: schemas.EmbeddingBody, service: ServiceOf, caller: CallerOf, response: Response
) -> schemas.EmbeddingAnswer:
    """Encode a photo, once for any number of prompts; the handle stays good as long as the embedding is kept."""
    photo = photo_from_text(body.image, service.settings)
    size = None
    if body.wait:
        size = list((await service.embed(photo, caller)).original_size)
    else:
        service.prepare(photo, caller)
        response.status_code = 202
    return schemas.EmbeddingAnswer(
        embedding=service.handle(photo),
        size=size,
        variant=service.sam.variant.name,
        fingerprint=service.sam.fingerprint,
    )


@router.get(
    "/embeddings/{embedding}",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "a safetensors file"}},
)
async def embedding_maps(embedding: Annotated[str, Path(max_length=100)], service: ServiceOf) -> Response:
    """An embedding's maps in float16, as a safetensors file, for decoders elsewhere."""
    found = service.known(embedding)

    def content() -> bytes:
        features, *lateral = (np.asarray(array, np.float32) for array in found.arrays)
        maps = {"features": features, **{f"lateral.{i}": array for i, array in enumerate(lateral)}}
        half = {name: array.clip(-65504, 65504).astype(np.float16) for name, array in maps.items()}
        sizes = {"original_size": str(list(found.original_size)), "resized_size": str(list(found.resized_size))}
        return b"".join(tensor_file_parts(half, {"variant": found.variant, "fingerprint": found.fingerprint, **sizes}))

    return Response(await service.call(content, "maps"), media_type="application/octet-stream")


@router.post("/predict", response_model=schemas.PredictAnswer)
async def predict(body: schemas.PredictBody, service: ServiceOf, caller: CallerOf) -> Response:
    """Masks for prompts on a photo."""
    handle, embedding = await find_embedding(body, service, caller)

    def read(prompt: schemas.Prompt) -> dict[str, Any]:
        return read_prompt(prompt, embedding)

    def render(prediction: Prediction) -> str:
        return schemas.PredictAnswer(
            embedding=handle,
            size=list(prediction.size),
            prompts=[_masks(one) for one in prediction],
            logits=_logits(prediction.logits) if body.logits else None,
        ).model_dump_json()

    return _json(await service.predict(Asked(embedding, body.prompts, body.multimask, body.best, render, read), caller))


@router.post("/everything", response_model=schemas.EverythingAnswer)
async def everything(body: schemas.EverythingBody, service: ServiceOf, caller: CallerOf) -> Response:
    """Masks for all that is in a photo."""
    handle, embedding = await find_embedding(body, service, caller)
    options = body.model_dump(exclude={"image", "embedding"})

    def render(segments: Segments) -> str:
        found = [schemas.Found(**vars(segment)) for segment in segments]
        return schemas.EverythingAnswer(embedding=handle, size=list(segments.size), segments=found).model_dump_json()

    return _json(await service.everything(embedding, options, render, caller))


@router.post("/track", response_model=schemas.TrackAnswer)
async def track(body: schemas.TrackBody, service: ServiceOf, caller: CallerOf, request: Request) -> Response:
    """The next frame of a session: objects are removed, then looked for, then shown."""
    sessions: Sessions = request.app.state.sessions
    handle = embedding = None
    if body.has_photo():
        handle, embedding = await find_embedding(body, service, caller)

    def change(tracker: Tracker, revision: int) -> bytes:
        for number in body.remove:
            tracker.remove(number)
        tracks, added = {}, []
        if embedding is not None:
            tracks = dict(tracker.step(embedding)) if body.step and tracker.ids else {}
            added = [tracker.add(embedding, **read_prompt(one, embedding), id=one.id) for one in body.add]
        if len(tracker.ids) > service.settings.objects:
            most = service.settings.objects
            raise Problem(422, "objects", f"objects: expected at most {most} in a session, got {len(tracker.ids)}")
        answer = schemas.TrackAnswer(
            session=body.session,
            revision=revision,
            size=None if embedding is None else list(embedding.original_size),
            ids=list(tracker.ids),
            added=added,
            tracks=[
                schemas.Followed(
                    id=one.id,
                    rle=schemas.Rle(**encode_rle(one.mask)),
                    box=one.box.tolist(),
                    score=one.score,
                    lost=one.lost,
                )
                for one in tracks.values()
            ],
        )
        return answer.model_dump_json().encode()

    same = body.model_copy(update={"image": None, "embedding": handle})  # however the photo came: sent again, as itself
    digest = hashlib.sha256(same.model_dump_json().encode()).hexdigest()
    return _json(await sessions.change(body.session, body.revision, digest, change, caller))


@router.delete("/track/{session}", status_code=204)
async def end_track(session: Annotated[str, Path(max_length=64)], request: Request) -> None:
    """Forget a session."""
    sessions: Sessions = request.app.state.sessions
    await sessions.end(session)


async def find_embedding(body: schemas.PhotoFields, service: Service, caller: str) -> tuple[str, Embedding]:
    """The handle and the embedding of the photo that a request brings or names."""
    if body.embedding is not None:
        return body.embedding, service.known(body.embedding)
    photo = photo_from_text(body.image or "", service.settings)
    return service.handle(photo), await service.embed(photo, caller)


def read_prompt(prompt: schemas.Prompt, embedding: Embedding) -> dict[str, Any]:
    """A prompt as :func:`evsam.prompts.read_prompts` takes it.

    Raises:
        Problem: its mask has another size than the photo, or is damaged.
    """
    found: dict[str, Any] = {"points": prompt.points, "labels": prompt.labels, "box": prompt.box}
    if prompt.mask is None:
        return found
    try:
        if prompt.mask.logits is not None:
            return {**found, "mask": _read_logits(prompt.mask.logits)}
        rle = (prompt.mask.rle or schemas.Rle(size=[0, 0], counts="")).model_dump()
        if rle_size(rle) != embedding.original_size:  # before it is unpacked
            raise ValueError(f"rle: expected the photo's size {list(embedding.original_size)}, got {rle['size']}")
        return {**found, "mask": decode_rle(rle)}
    except ValueError as error:
        raise Problem(422, "prompt", f"mask: {error}") from error


def _masks(prediction: Prediction) -> list[schemas.Mask]:
    """Those of the one prompt that a prediction is of."""
    masks = []
    for mask, score in zip(prediction.masks[0], prediction.scores[0].tolist(), strict=True):
        area, box = mask_extent(mask)
        masks.append(schemas.Mask(rle=schemas.Rle(**encode_rle(mask)), score=score, box=list(box), area=area))
    return masks


def _logits(logits: Any) -> schemas.Logits:
    half = logits.clip(-65504, 65504).astype("<f2")
    return schemas.Logits(shape=list(half.shape), data=base64.b64encode(half.tobytes()).decode())


def _read_logits(logits: schemas.Logits) -> Any:
    expected = [LOGITS_SIZE, LOGITS_SIZE]
    content = base64.b64decode(logits.data, validate=True)
    if logits.shape != expected or len(content) != 2 * LOGITS_SIZE * LOGITS_SIZE:
        raise ValueError(f"logits: expected shape {expected} in float16, got {logits.shape} in {len(content)} bytes")
    return np.frombuffer(content, "<f2").reshape(expected).astype(np.float32)


def _json(content: str | bytes) -> Response:
    return Response(content, media_type="application/json")
