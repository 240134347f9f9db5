"""Why a request is refused, and the form in which its sender reads that."""

from __future__ import annotations

import math

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field


class Problem(Exception):  # noqa: N818 - said to whoever asked, no error of the server
    """A request that cannot be answered.

    Args:
        status: HTTP's number.
        code: one word for programs.
        message: for people, in evsam's form: ``thing: expected X, got Y``.
        retry_after: seconds after which the same request has a chance.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    def headers(self) -> dict[str, str]:
        """Those that HTTP has for it."""
        found = {}
        if self.retry_after is not None:
            found["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found

    def response(self) -> JSONResponse:
        """The answer."""
        body = ErrorAnswer(error=ErrorDetail(code=self.code, message=self.message))
        return JSONResponse(body.model_dump(), self.status, self.headers())


def stopping() -> Problem:
    """What requests are told that come, or are not done, when the server stops."""
    return Problem(503, "stopping", "server: expected to be running, got one that stops", 1.0)


class ErrorDetail(BaseModel):
    """What is wrong with a request."""

    code: str = Field(description="one word for programs", examples=["prompt"])
    message: str = Field(description="for people", examples=["box: expected x0 < x1 and y0 < y1, got [5, 5, 5, 9]"])


class ErrorAnswer(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail


_MEANINGS = {
    400: "no HTTP or JSON",
    401: "a token is missing or wrong",
    404: "no such path, embedding or session",
    405: "another method",
    409: "the session is elsewhere",
    413: "larger than the limits of this server",
    415: "its Content-Type is not that of JSON",
    421: "meant for another host",
    422: "values that cannot be meant",
    429: "busy; the header Retry-After says when to ask again",
    503: "stopping, or not ready yet",
    504: "not done within the time limit",
}

RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorAnswer, "description": meaning} for status, meaning in _MEANINGS.items()
}
"""Of OpenAPI, the same for all paths."""
