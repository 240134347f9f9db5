"""``evsam serve`` under load, and the library without it, on the same prompts.

The server runs in a process of its own, on loopback. Clients keep a connection each and send the next prompt as soon as
the last one is answered; all prompts are boxes on photos that the server has encoded. The library answers the same
prompts one by one in as many threads as the server has workers, to the same run-length encodings.

    python -m benchmarks.serving --save                  # a minute of load, and ten seconds of the library before it
    python -m benchmarks.serving --only server --clients 8 --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

import evsam
from benchmarks.harness import result_path, save

_SIZE = (1280, 720)
_PHOTOS = ("coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "chelsea.png")
_BOXES = 64  # that requests take in turns
_SETTLED = 0.25  # of the time, after which memory should not grow any more
_WORKERS = 2  # of the server, by default


def photos() -> list[bytes]:
    """Photos of scikit-image, all of one size, as files."""
    import skimage

    files = []
    for name in _PHOTOS:
        with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
            file = BytesIO()
            image.convert("RGB").resize(_SIZE).save(file, "JPEG", quality=90)
            files.append(file.getvalue())
    return files


def boxes() -> list[list[int]]:
    """Boxes on those photos, from small to large."""
    chance = random.Random(0)
    found = []
    for _ in range(_BOXES):
        width, height = chance.randrange(80, 800), chance.randrange(60, 500)
        x, y = chance.randrange(_SIZE[0] - width), chance.randrange(_SIZE[1] - height)
        found.append([x, y, x + width, y + height])
    return found


def library(seconds: float) -> dict[str, Any]:
    """Predictions per second of the library, and the CPU time of one."""
    with evsam.load("nano") as sam, ThreadPoolExecutor(_WORKERS) as pool:
        embeddings = [sam.encode(photo) for photo in photos()]
        work = list(itertools.product(embeddings, boxes()))
        random.Random(1).shuffle(work)
        end = time.perf_counter() + 1

        def answer(turn: int) -> int:
            count = 0
            while time.perf_counter() < end:
                embedding, box = work[(turn + count * _WORKERS) % len(work)]
                sam.predict(embedding, box=box).to_coco_rle()
                count += 1
            return count

        list(pool.map(answer, range(_WORKERS)))
        begin, cpu = time.perf_counter(), time.process_time()
        end = begin + seconds
        count = sum(pool.map(answer, range(_WORKERS)))
        took = time.perf_counter() - begin
        return {"per_second": count / took, "cpu_ms": 1000 * (time.process_time() - cpu) / count, "answers": count}


@contextmanager
def running_server(wait: float) -> Iterator[tuple[str, int]]:
    """URL and process number of ``evsam serve`` with nano; its log is thrown away."""
    options = ["--port", "0", "--workers", str(_WORKERS), "--wait", str(wait)]
    command = [sys.executable, "-m", "evsam", "serve", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            assert found, "the server did not start"
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait()
            drain.wait()


class Connection:
    """A connection that asks one thing after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and content of an answer."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        return int(answer[9:12]), await self._reader.readexactly(int(length[1]) if length else 0)


async def load(url: str, process: int, clients: int, seconds: float) -> dict[str, Any]:
    """What clients get from a server, and what that costs its process."""
    address = urlsplit(url)
    connections = [Connection(*await asyncio.open_connection(address.hostname, address.port)) for _ in range(clients)]
    handles = []
    for photo in photos():
        _, content = await connections[0].ask("/v1/embeddings", {"image": base64.b64encode(photo).decode()})
        handles.append(json.loads(content)["embedding"])
    work = [{"embedding": handle, "prompts": [{"box": box}]} for handle, box in itertools.product(handles, boxes())]
    random.Random(1).shuffle(work)
    turn, statuses, latencies, memory = itertools.count(), Counter[int](), [], []
    begin = time.perf_counter()
    end = begin + seconds
    cpu = _cpu_seconds(process)

    async def client(connection: Connection) -> None:
        while (now := time.perf_counter()) < end:
            status, _ = await connection.ask("/v1/predict", work[next(turn) % len(work)])
            statuses[status] += 1
            if status == 200:
                latencies.append(time.perf_counter() - now)
            else:
                await asyncio.sleep(0.5)

    async def watch() -> None:
        while (now := time.perf_counter()) < end:
            memory.append((now - begin, _resident_mib(process)))
            await asyncio.sleep(min(1.0, seconds / 20))

    await asyncio.gather(watch(), *map(client, connections))
    took = time.perf_counter() - begin
    cpu = _cpu_seconds(process) - cpu
    for connection in connections:
        connection.writer.close()
    settled = [mib for at, mib in memory if at >= _SETTLED * seconds]
    p50, p99 = np.percentile(latencies, [50, 99])
    return {
        "per_second": len(latencies) / took,
        "cpu_ms": 1000 * cpu / len(latencies),
        "answers": len(latencies),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "p50_ms": 1000 * p50,
        "p99_ms": 1000 * p99,
        "memory_mib": [settled[0], max(settled), settled[-1]],
    }


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(process: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return round(int(found[1]) / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="of load (default: 60)")
    parser.add_argument("--wait", type=float, default=5, help="of the server, beyond which it says 429 (default: 5)")
    parser.add_argument("--only", choices=("library", "server"))
    parser.add_argument("--save", action="store_true", help="into benchmarks/results")
    arguments = parser.parse_args()
    lines = []
    if arguments.only != "server":
        seconds = min(10, arguments.seconds)
        lines.append({"what": "library", "clients": _WORKERS, "seconds": seconds, **library(seconds)})
    if arguments.only != "library":
        with running_server(arguments.wait) as (url, process):
            found = asyncio.run(load(url, process, arguments.clients, arguments.seconds))
        run = {name: getattr(arguments, name) for name in ("clients", "seconds", "wait")}
        lines.append({"what": "server", **run, **found})
    for line in lines:
        print(json.dumps(line))
    if len(lines) == 2:
        print(f"{100 * lines[1]['per_second'] / lines[0]['per_second']:.1f} % of the library's throughput")
    if arguments.save:
        save(result_path("serving"), lines, ("what", "clients", "seconds", "wait"))


if __name__ == "__main__":
    main()
