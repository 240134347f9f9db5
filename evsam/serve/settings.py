"""What a server allows: addresses, limits and secrets, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """Options of a server; the defaults suit one machine and its own user.

    Attributes:
        host: address to listen on.
        port: to listen on; 0 for any that is free.
        token: what requests have to bring; None for no secret.
        names: values of the header ``Host`` that are answered, which keeps pages of other sites from reaching a server
            on loopback under a name of their own; None for loopback's names there, and any name on other addresses.
        photo_bytes: of an encoded photo, at most.
        photo_pixels: of a photo, at most; checked before pixels are decoded.
        formats: of photos, as Pillow names them.
        body_bytes: of a request, at most.
        all_body_bytes: of all requests that are being read or answered, and of all photos that are to be prepared.
        answer_bytes: of an answer whose masks are not compressed (KServe's), at most.
        prompts: in a request, at most.
        points: in a prompt, at most.
        mask_pixels: of all masks in an answer together, at most.
        objects: followed in a session, at most.
        sessions: of tracking at a time, at most.
        session_seconds: without a request after which a session may be dropped, and a sequence of frames is.
        session_folder: where sessions survive the process; None for memory alone.
        clip_bytes: of all sequences of frames that X-AnyLabeling has sent and what was found in them, at most.
        clips_each: of them of one caller; a further one ends the one that he used least lately.
        cache_bytes: of embeddings that are kept, at most.
        prewarm: folder of photos that are encoded while nothing else waits and the cache has room; None for none.
        workers: calls of the model that run at the same time.
        batch: prompts on one photo, of several requests, that are decoded together, at most.
        wait: seconds that a request may be expected to wait in the queue; beyond, it is refused with 429.
        seconds: for a request, from its first byte to its answer; of an answer in pieces, to each of them.
        fetched_hosts: from which photos are fetched where a request names a URL, ``host`` or ``host:port``; addresses
            inside of private networks are refused.
        label_studio: URL of the Label Studio whose photos are fetched, wherever it is; None for none.
        label_studio_key: access token of a user of that Label Studio, sent to it alone.
        page: whether evsam's own page is served at ``/``, unless ``pages`` replaces it.
        pages: folder of static files to serve at ``/`` instead; None for none.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    names: tuple[str, ...] | None = None
    photo_bytes: int = 32 << 20
    photo_pixels: int = 50_000_000
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP")
    body_bytes: int = 48 << 20
    all_body_bytes: int = 256 << 20
    answer_bytes: int = 256 << 20
    prompts: int = 64
    points: int = 256
    mask_pixels: int = 2_000_000_000
    objects: int = 64
    sessions: int = 64
    session_seconds: float = 3600.0
    session_folder: Path | None = None
    clip_bytes: int = 1 << 30
    clips_each: int = 8
    cache_bytes: int = 1 << 30
    prewarm: Path | None = None
    workers: int = 2
    batch: int = 16
    wait: float = 5.0
    seconds: float = 60.0
    fetched_hosts: tuple[str, ...] = ()
    label_studio: str | None = None
    label_studio_key: str | None = None
    page: bool = True
    pages: Path | None = None

    @property
    def answered_names(self) -> tuple[str, ...] | None:
        """Names in the header ``Host`` that are answered; None for any."""
        if self.names is not None:
            return self.names
        return LOOPBACK if self.host in LOOPBACK else None
