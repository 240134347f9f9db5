"""Static files, read once when the server starts: no path of a request reaches the disk afterwards."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from evsam.serve.guard import PAGE_POLICY
from evsam.serve.problems import Problem
from evsam.serve.settings import Settings
from evsam.weights.locate import bundled
from evsam.zoo import VARIANTS

_INDEX = "index.html"
_OWN = Path(__file__).parent / "page"  # what `npm run build` makes of page/
_HASHED = "assets/"  # of the own page: names in there change with their content

_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",  # these two give the page threads in WebAssembly
    "Cross-Origin-Embedder-Policy": "require-corp",
}


@dataclass(frozen=True)
class Pages:
    """Static files.

    Attributes:
        files: contents by their paths without the first slash; ``""`` is the root.
        own: whether they are evsam's page, which holds nothing secret: it asks for the token that its calls need.
    """

    files: Mapping[str, bytes]
    own: bool

    @property
    def open_paths(self) -> frozenset[str]:
        """What may be read without a token."""
        return frozenset(f"/{name}" for name in self.files) if self.own else frozenset()


def read_pages(settings: Settings) -> Pages | None:
    """The files that a server serves beside its API: those of its settings, or evsam's page with nano's weights.

    Raises:
        OSError: they cannot be read, or have no ``index.html``.
    """
    if settings.pages is not None:
        return Pages(_read(settings.pages), own=False)
    if not settings.page:
        return None
    files = _read(_OWN)
    weights = bundled(VARIANTS["nano"])
    if weights is not None:
        files[weights.name] = weights.read_bytes()
    return Pages(files, own=True)


def _read(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if _INDEX not in files:
        raise FileNotFoundError(f"pages: expected {_INDEX} in {str(folder)!r}, got none")
    return {"": files[_INDEX], **files}


def make_router(pages: Pages) -> APIRouter:
    """Serves files under the policy of pages."""
    tags = {name: tag_of(content) for name, content in pages.files.items()}
    types = {name: mimetypes.guess_type(name or _INDEX)[0] or "application/octet-stream" for name in pages.files}
    router = APIRouter(include_in_schema=False)

    @router.get("/{name:path}")
    async def page(name: str, request: Request) -> Response:
        if name not in pages.files:
            raise Problem(404, "path", "path: expected one of the server's, got another")
        kept = pages.own and name.startswith(_HASHED)
        headers = {**_HEADERS, "Cache-Control": "max-age=31536000, immutable"} if kept else _HEADERS
        return tagged(request, pages.files[name], tags[name], types[name], headers)

    return router


def tag_of(content: bytes) -> str:
    """What tells contents apart, for the header ``ETag``."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def tagged(request: Request, content: bytes, tag: str, kind: str, headers: Mapping[str, str]) -> Response:
    """An answer that may be kept, and is asked for again by its tag unless the headers say more."""
    known = {"Cache-Control": "no-cache", **headers, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=known)
    return Response(content, media_type=kind, headers=known)
