"""The open inference protocol (KServe v2), as Triton's clients speak it, with tensors as JSON or as bytes behind it.

Inputs: ``image``, UINT8 [H, W, 3] in RGB or BYTES [1], an encoded photo; ``points`` FP32 [N, T, 2] with ``labels``
INT32 [N, T]; ``boxes`` FP32 [N, 4]. Outputs: ``masks`` BOOL [N, M, H, W], ``scores`` FP32 [N, M], ``logits`` FP32
[N, M, 256, 256].
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from evsam.prompts import split_prompts
from evsam.results import Prediction
from evsam.serve.api import CallerOf, ServiceOf
from evsam.serve.photos import Photo, photo_from_bytes, photo_from_pixels
from evsam.serve.problems import RESPONSES, Problem
from evsam.serve.service import Asked, Service
from evsam.zoo import LOGITS_SIZE

router = APIRouter(prefix="/v2", responses=RESPONSES, tags=["KServe v2"])

_LENGTH = "Inference-Header-Content-Length"
_JSON_BYTES = 16  # that a number of JSON takes while it is made
_DTYPES = {"BOOL": "?", "UINT8": "u1", "INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"}
_INPUTS = {
    "image": ("UINT8", [-1, -1, 3]),
    "points": ("FP32", [-1, -1, 2]),
    "labels": ("INT32", [-1, -1]),
    "boxes": ("FP32", [-1, 4]),
}
_OUTPUTS = {
    "masks": ("BOOL", [-1, -1, -1, -1]),
    "scores": ("FP32", [-1, -1]),
    "logits": ("FP32", [-1, -1, 256, 256]),
}


class Tensor(BaseModel):
    """An input."""

    name: str
    shape: list[Annotated[int, Field(ge=0, le=2**31 - 1)]] = Field(max_length=4)
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class Output(BaseModel):
    """What is wanted."""

    name: str
    parameters: dict[str, Any] = {}


class Infer(BaseModel):
    """A request, but for the bytes behind it."""

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[Tensor] = Field(min_length=1, max_length=8)
    outputs: list[Output] = Field([], max_length=8)


@router.get("")
async def server() -> dict[str, Any]:
    """Name, version and extensions."""
    from evsam import __version__

    return {"name": "evsam", "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Whether the process answers."""
    return {"live": True}


@router.get("/health/ready")
async def ready(service: ServiceOf, response: Response) -> dict[str, bool]:
    """Whether requests are accepted."""
    response.status_code = 200 if service.ready else 503
    return {"ready": service.ready}


@router.get("/models/{name}")
async def metadata(name: str, service: ServiceOf) -> dict[str, Any]:
    """Inputs and outputs of the model."""
    _check_name(name, service)
    described = [
        [{"name": tensor, "datatype": datatype, "shape": shape} for tensor, (datatype, shape) in tensors.items()]
        for tensors in (_INPUTS, _OUTPUTS)
    ]
    return {"name": name, "versions": ["1"], "platform": "evsam", "inputs": described[0], "outputs": described[1]}


@router.get("/models/{name}/ready")
async def model_ready(name: str, service: ServiceOf, response: Response) -> dict[str, Any]:
    """Whether the model answers."""
    _check_name(name, service)
    response.status_code = 200 if service.ready else 503
    return {"name": name, "ready": service.ready}


@router.post(
    "/models/{name}/infer",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": Infer.model_json_schema()}}}
    },
)
async def infer(name: str, request: Request, service: ServiceOf, caller: CallerOf) -> Response:
    """Masks for boxes or points."""
    _check_name(name, service)
    asked, tensors = _read(await request.body(), request.headers.get(_LENGTH))
    if not {output.name for output in asked.outputs} <= set(_OUTPUTS):
        raise Problem(422, "tensor", f"outputs: expected {', '.join(_OUTPUTS)}, got others")
    if not set(tensors) <= set(_INPUTS) or "image" not in tensors:
        raise Problem(422, "tensor", f"inputs: expected image, and points or boxes, got {sorted(tensors)}")
    prompts = split_prompts(**{name: value for name, value in tensors.items() if name != "image"})
    embedding = await service.embed(_photo(tensors["image"], service), caller)
    wanted = asked.outputs or [Output(name=name) for name in ("masks", "scores")]
    for output in wanted:
        output.parameters = {**asked.parameters, **output.parameters}

    def render(prediction: Prediction) -> tuple[bytes, int]:
        _check_bytes(wanted, prediction, service)
        return _write(name, asked.id, wanted, prediction)

    content, head = await service.predict(Asked(embedding, prompts, None, False, render), caller)
    if head == len(content):
        return Response(content, media_type="application/json")
    return Response(content, media_type="application/octet-stream", headers={_LENGTH: str(head)})


def _check_name(name: str, service: Service) -> None:
    if name != service.sam.variant.name:
        raise Problem(404, "model", f"model: expected {service.sam.variant.name}, got another")


def _read(body: bytes, length: str | None) -> tuple[Infer, dict[str, Any]]:
    """A request and its tensors: arrays, and bytes where the image is an encoded one."""
    head = int(length) if length is not None and length.isdecimal() and len(length) < 12 else len(body)
    try:
        asked = Infer.model_validate_json(body[:head])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Problem(422, "invalid", f"{where or 'body'}: {first['msg']}"[:500]) from error
    at, tensors = head, {}
    for tensor in asked.inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            tensors[tensor.name] = _from_json(tensor)
            continue
        if type(size) is not int or not 0 <= size <= len(body) - at:
            raise Problem(422, "tensor", f"{tensor.name}: expected binary_data_size bytes behind the JSON, got fewer")
        tensors[tensor.name] = _from_bytes(tensor, body[at : at + size])
        at += size
    return asked, tensors


def _from_json(tensor: Tensor) -> Any:
    try:
        if tensor.datatype == "BYTES":
            (text,) = tensor.data or []
            return text.encode("latin-1")
        with np.errstate(over="ignore"):  # infinity, which is refused as a prompt
            values = np.array(tensor.data, _dtype(tensor))
        return values.reshape(tensor.shape)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise Problem(
            422, "tensor", f"{tensor.name}: expected data of shape {tensor.shape}, got other ({error})"
        ) from error


def _from_bytes(tensor: Tensor, content: bytes) -> Any:
    if tensor.datatype == "BYTES":
        if len(content) < 4 or struct.unpack("<I", content[:4])[0] != len(content) - 4:
            raise Problem(422, "tensor", f"{tensor.name}: expected one element with its length before it, got others")
        return content[4:]
    try:
        return np.frombuffer(content, _dtype(tensor)).reshape(tensor.shape)
    except ValueError as error:
        raise Problem(
            422, "tensor", f"{tensor.name}: expected bytes of shape {tensor.shape}, got {len(content)}"
        ) from error


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    if tensor.datatype not in _DTYPES:
        raise Problem(422, "tensor", f"{tensor.name}: expected {', '.join(_DTYPES)} or BYTES, got another datatype")
    return np.dtype(_DTYPES[tensor.datatype])


def _photo(image: bytes | npt.NDArray[Any], service: Service) -> Photo:
    if isinstance(image, bytes):
        return photo_from_bytes(image, service.settings)
    return photo_from_pixels(image, service.settings)


def _check_bytes(wanted: Sequence[Output], prediction: Prediction, service: Service) -> None:
    """Refuse what would be too large, before it is computed."""
    count = prediction.scores.size
    sizes = {"masks": math.prod(prediction.size), "scores": 1, "logits": LOGITS_SIZE * LOGITS_SIZE}
    total, most = 0, service.settings.answer_bytes
    for output in wanted:
        each = np.dtype(_DTYPES[_OUTPUTS[output.name][0]]).itemsize if _as_bytes(output) else _JSON_BYTES
        total += count * sizes[output.name] * each
    if total > most:
        expected = f"outputs: expected at most {most} bytes (in JSON, {_JSON_BYTES} for each number)"
        raise Problem(422, "tensor", f"{expected}, got {total}; binary_data takes fewer, and so do fewer prompts")


def _as_bytes(output: Output) -> bool:
    return bool(output.parameters.get("binary_data", output.parameters.get("binary_data_output", False)))


def _write(name: str, number: str | None, wanted: Sequence[Output], prediction: Prediction) -> tuple[bytes, int]:
    """An answer, and how many of its bytes are JSON."""
    outputs, behind = [], []
    for output in wanted:
        values = np.asarray(getattr(prediction, output.name))
        datatype = _OUTPUTS[output.name][0]
        described: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": list(values.shape)}
        if _as_bytes(output):
            content = values.astype(_DTYPES[datatype]).tobytes()
            described["parameters"] = {"binary_data_size": len(content)}
            behind.append(content)
        else:
            described["data"] = values.ravel().tolist()
        outputs.append(described)
    answer: Mapping[str, Any] = {"model_name": name, "model_version": "1", "outputs": outputs}
    head = json.dumps({**answer, "id": number} if number is not None else answer).encode()
    return b"".join([head, *behind]), len(head)
