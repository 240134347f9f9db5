"""Static files, read once when the server starts: no path of a request reaches the disk afterwards."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response

from evsam.serve.guard import PAGE_POLICY
from evsam.serve.problems import Problem

_INDEX = "index.html"


def make_router(folder: Path) -> APIRouter:
    """Serves the files of a folder, ``index.html`` at the root, under the policy of pages.

    Raises:
        OSError: the folder cannot be read.
    """
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if _INDEX not in files:
        raise FileNotFoundError(f"pages: expected {_INDEX} in {str(folder)!r}, got none")
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for name, content in files.items()}
    types = {name: mimetypes.guess_type(name)[0] or "application/octet-stream" for name in files}
    router = APIRouter(include_in_schema=False)

    @router.get("/{name:path}")
    async def page(name: str, request: Request) -> Response:
        name = name or _INDEX
        if name not in files:
            raise Problem(404, "path", "path: expected one of the server's, got another")
        headers = {
            "ETag": tags[name],
            "Cache-Control": "no-cache",  # kept, but asked for again: by the tag
            "Content-Security-Policy": PAGE_POLICY,
            "Cross-Origin-Opener-Policy": "same-origin",  # these two give the page threads in WebAssembly
            "Cross-Origin-Embedder-Policy": "require-corp",
        }
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(files[name], media_type=types[name], headers=headers)

    return router
