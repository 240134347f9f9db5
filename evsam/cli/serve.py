"""``evsam serve``: its arguments, and what they mean for the server."""

from __future__ import annotations

import argparse
import os
import re
import webbrowser
from pathlib import Path

from evsam.cli.arguments import add_loading_arguments, engine_options, number, whole
from evsam.cli.console import note
from evsam.errors import EvsamError

DESCRIPTION = """A page to mark objects in photos, and a server that other programs, and annotation
tools, ask for masks.

It answers on this machine alone unless --host says otherwise, and fetches no URL unless
a host is named. A secret that requests have to bring is read from EVSAM_TOKEN."""

_MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam serve``."""
    add_loading_arguments(parser)
    group = parser.add_argument_group("listening")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    group.add_argument("--port", type=whole(0, 65535), default=8000, help="0 for any that is free (default: 8000)")
    group.add_argument(
        "--name",
        type=_name,
        action="append",
        metavar="NAME",
        help="a name of the server in URLs; requests that use another are refused (default: those of this machine "
        "where it listens on loopback, otherwise any)",
    )
    shown = group.add_mutually_exclusive_group()
    shown.add_argument("--no-page", action="store_true", help="serve the API alone, without the page at /")
    shown.add_argument("--pages", type=Path, metavar="FOLDER", help="static files to serve at / instead of the page")
    group.add_argument("--open", action="store_true", help="open the page in a browser once the server answers")
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--cache", type=whole(0, 1 << 20), default=1024, metavar="MIB", help="of embeddings to keep (default: 1024)"
    )
    group.add_argument(
        "--prewarm",
        type=Path,
        metavar="FOLDER",
        help="encode the photos in this folder, the newest first, while nothing else waits and the cache has room",
    )
    group.add_argument("--workers", type=whole(1, 64), default=2, help="calls of the model at a time (default: 2)")
    group.add_argument(
        "--wait",
        type=number(0.01, 3600),
        default=5.0,
        metavar="SECONDS",
        help="requests that would wait longer are refused with 429 (default: 5)",
    )
    group.add_argument(
        "--time-limit", type=number(1, 3600), default=60.0, metavar="SECONDS", help="for a request (default: 60)"
    )
    group.add_argument(
        "--max-pixels", type=whole(1), default=50_000_000, metavar="N", help="of a photo (default: 50000000)"
    )
    group.add_argument(
        "--max-photo", type=whole(1, 1024), default=32, metavar="MIB", help="of an encoded photo (default: 32)"
    )
    group.add_argument(
        "--max-request",
        type=whole(1, 8192),
        metavar="MIB",
        help="of a request; X-AnyLabeling sends all frames of a video in one (default: one and a half of --max-photo)",
    )
    group = parser.add_argument_group("tracking")
    group.add_argument(
        "--sessions", type=Path, metavar="FOLDER", help="where sessions survive the server (default: nowhere)"
    )
    group = parser.add_argument_group("fetching photos")
    group.add_argument(
        "--fetch-from",
        action="append",
        default=[],
        metavar="HOST",
        help="fetch photos that requests name by URL from this host, or host:port; not from private networks",
    )
    group.add_argument(
        "--label-studio",
        metavar="URL",
        help="the Label Studio whose photos are fetched; EVSAM_LABEL_STUDIO_KEY has the access token of its user",
    )


def _name(text: str) -> str:
    name = text.lower().strip("[]")
    if not re.fullmatch(r"[\w.-]+", name) and not (name.count(":") > 1 and re.fullmatch("[0-9a-f:.]+", name)):
        raise argparse.ArgumentTypeError(f"expected a host's name without scheme and port, got {text[:80]!r}")
    return name


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments say."""
    from evsam.sam import load
    from evsam.serve.server import serve
    from evsam.serve.settings import LOOPBACK, Settings

    token = os.environ.get("EVSAM_TOKEN")
    if token is not None and not re.fullmatch("[!-~]{16,}", token):  # spaces at its ends would get lost in a header
        raise EvsamError(
            "EVSAM_TOKEN: expected 16 printable ASCII characters or more without spaces, got others or fewer"
        )
    body_bytes = arguments.max_request * _MIB if arguments.max_request else arguments.max_photo * _MIB * 3 // 2
    settings = Settings(
        host=arguments.host,
        port=arguments.port,
        token=token,
        names=tuple(arguments.name) if arguments.name else None,
        photo_bytes=arguments.max_photo * _MIB,
        photo_pixels=arguments.max_pixels,
        body_bytes=body_bytes,
        all_body_bytes=max(256 * _MIB, 6 * arguments.max_photo * _MIB, 2 * body_bytes),
        session_folder=arguments.sessions,
        clip_bytes=max(Settings.clip_bytes, body_bytes),
        cache_bytes=arguments.cache * _MIB,
        prewarm=arguments.prewarm,
        workers=arguments.workers,
        wait=arguments.wait,
        seconds=arguments.time_limit,
        fetched_hosts=tuple(host.lower() for host in arguments.fetch_from),
        label_studio=arguments.label_studio,
        label_studio_key=os.environ.get("EVSAM_LABEL_STUDIO_KEY"),
        page=not arguments.no_page,
        pages=arguments.pages,
    )
    if token is None and arguments.host not in LOOPBACK:
        note(f"everybody who reaches {arguments.host} may use this server; EVSAM_TOKEN sets a secret")
    with load(arguments.model, arguments.variant, **engine_options(arguments)) as sam:

        def started(url: str) -> None:
            note(f"{sam.variant.name} on {url}")
            if arguments.open:
                webbrowser.open(url)

        serve(sam, settings, started)
