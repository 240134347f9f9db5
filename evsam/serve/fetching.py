"""Photos that a request names by URL: fetched from the hosts that the server's owner has named, and from no others.

An address is looked up once, checked, and then connected to as it is, so a name cannot mean one machine when it is
checked and another when it is asked. Redirects are not followed. Machines inside of private networks answer nobody
through this server, unless one of them is the Label Studio that its owner has named.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections import OrderedDict
from urllib.parse import urljoin, urlsplit

import httpx

from evsam.arguments import shown
from evsam.errors import EvsamError
from evsam.serve.photos import Photo, photo_from_bytes, photo_from_text
from evsam.serve.problems import Problem
from evsam.serve.settings import Settings

_PORTS = {"http": 80, "https": 443}
_REMEMBERED = 256  # photos by their URL
_SECONDS = 300.0  # that a URL is believed to name the same photo
_TIMEOUT = 15.0


class Fetcher:
    """Fetches photos for requests. For one event loop.

    Args:
        settings: which hosts, and how large photos may be.

    Raises:
        EvsamError: Label Studio's URL is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own = None if settings.label_studio is None else _origin(settings.label_studio)
        self._photos: OrderedDict[str, tuple[float, Photo]] = OrderedDict()

    async def photo(self, url: str) -> Photo:
        """The photo that a URL names; one without a host is Label Studio's, and a data URL is the photo itself.

        Raises:
            Problem: the host is none of those that were named, or does not give a photo within the limits.
        """
        if url.startswith("data:"):
            return photo_from_text(url, self._settings)
        if self._settings.label_studio is not None:
            with contextlib.suppress(ValueError):  # of URLs that are none, which are refused below
                url = urljoin(self._settings.label_studio, url)
        known = self._photos.get(url)
        if known is not None and time.monotonic() - known[0] < _SECONDS:
            return known[1]
        photo = photo_from_bytes(await self._content(url), self._settings)
        self._photos[url] = time.monotonic(), photo
        while len(self._photos) > _REMEMBERED or self._bytes() > self._settings.all_body_bytes:
            self._photos.popitem(last=False)
        return photo

    def _bytes(self) -> int:
        return sum(len(photo.content) for _, photo in self._photos.values())

    async def _content(self, url: str) -> bytes:
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError as error:
            raise Problem(422, "url", "url: expected one of http or https, got another") from error
        host = parts.hostname
        if host is None or port is None or parts.username is not None:
            raise Problem(422, "url", "url: expected one of http or https without a user, got another")
        own = (parts.scheme, host, port) == self._own
        named = {host, f"{host}:{port}"} & set(self._settings.fetched_hosts)
        if not own and not named:
            raise Problem(
                422, "url", f"url: expected a host that this server was told to fetch from, got {host[:80]!r}"
            )
        address = await self._address(host, port, private=own)
        headers = {"Host": parts.netloc}
        if own and self._settings.label_studio_key:
            headers["Authorization"] = f"Token {self._settings.label_studio_key}"
        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client,
                client.stream(
                    "GET", httpx.URL(url).copy_with(host=address), headers=headers, extensions={"sni_hostname": host}
                ) as response,
            ):
                if response.status_code != 200:
                    raise Problem(422, "url", f"url: expected a photo, got HTTP {response.status_code} of {host!r}")
                return await self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Problem(422, "url", f"url: expected a photo, got {type(error).__name__} of {host!r}") from error

    async def _read(self, response: httpx.Response) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > self._settings.photo_bytes:
                most = self._settings.photo_bytes
                raise Problem(413, "too_large", f"url: expected a photo of at most {most} bytes, got more")
            parts.append(part)
        return b"".join(parts)

    @staticmethod
    async def _address(host: str, port: int, private: bool) -> str:
        """An address of a host, all of whose addresses are public ones, unless it may be in a private network."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Problem(422, "url", f"url: expected a host that has an address, got {host[:80]!r}") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not private and not all(ipaddress.ip_address(address).is_global for address in addresses):
            raise Problem(422, "url", f"url: expected a host with public addresses, got {host[:80]!r}")
        return addresses[0]


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of Label Studio."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise EvsamError(f"label_studio: expected a URL such as http://localhost:8080, got {shown(url)}") from None
