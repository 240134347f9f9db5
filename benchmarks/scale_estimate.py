"""What embedding all of SA-1B would take on paper: photos, bytes, hours and cost; nothing is measured.

python -m benchmarks.scale_estimate
python -m benchmarks.scale_estimate --variant xl1 --device h100 --reached 0.4 --price 3 --json numbers.json

A GPU gets photos as fast as its kernels encode them by :mod:`benchmarks.gpu_model`, times the fraction of that rate
that is reached, or as fast as the cores beside it decode them, whichever is slower. Several GPUs are as much faster:
photos do not depend on each other. The bytes that storage has to give and take in a second are printed beside the
hours; where it does not keep up, it sets them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gpu_model.budgets import load, registers_of
from benchmarks.gpu_model.launches import launches
from benchmarks.gpu_model.model import model_encoder
from evsam.cli.arguments import number, whole
from evsam.costs import FP16
from evsam.embedding import embedding_shapes
from evsam.selftest.devices import DEVICES, get_device
from evsam.zoo import VARIANTS

LABEL = "estimate on paper, not a measurement"

SA1B_PHOTOS = 11_200_000
"""Of SA-1B, rounded."""

BATCH = 8
"""Photos that a GPU encodes at once."""


@dataclass(frozen=True)
class Assumed:
    """What the cost model does not know. Each is an option of the command.

    Attributes:
        photos: how many.
        photo_bytes: of a JPEG file, on average.
        decode_seconds: of one core for reading and decoding a photo.
        cores: beside each GPU, all of which decode.
        reached: fraction of the cost model's rate that a GPU reaches over the whole run.
        price: of a GPU for an hour, in dollars.
    """

    photos: int = SA1B_PHOTOS
    photo_bytes: int = 1_000_000
    decode_seconds: float = 0.03
    cores: int = 12
    reached: float = 0.3
    price: float = 2.0


@dataclass(frozen=True)
class Line:
    """The run on a number of GPUs.

    Attributes:
        gpus: how many.
        photos_per_second: of all of them together.
        hours: of the run.
        gpu_hours: of all of them together.
        dollars: for those.
        bound: what is slower, ``GPU`` or ``decoding``.
        read_gbs: 10^9 bytes of photos in a second.
        written_gbs: 10^9 bytes of embeddings in a second.
    """

    gpus: int
    photos_per_second: float
    hours: float
    gpu_hours: float
    dollars: float
    bound: str
    read_gbs: float
    written_gbs: float


def embedding_bytes(variant: str) -> int:
    """Bytes of a photo's features in float16."""
    return FP16 * sum(map(math.prod, embedding_shapes(variant)))


def estimate(encode_seconds: float, written: int, gpus: int, assumed: Assumed) -> Line:
    """The run on a number of GPUs.

    Args:
        encode_seconds: of a photo, by the cost model.
        written: bytes of a photo's features.
        gpus: how many.
        assumed: what the cost model does not know.
    """
    rates = {"GPU": assumed.reached / encode_seconds, "decoding": assumed.cores / assumed.decode_seconds}
    bound = min(rates, key=rates.__getitem__)
    rate = gpus * rates[bound]
    hours = assumed.photos / rate / 3600
    return Line(
        gpus=gpus,
        photos_per_second=rate,
        hours=hours,
        gpu_hours=gpus * hours,
        dollars=gpus * hours * assumed.price,
        bound=bound,
        read_gbs=1e-9 * rate * assumed.photo_bytes,
        written_gbs=1e-9 * rate * written,
    )


def as_text(title: str, encode_seconds: float, written: int, lines: Sequence[Line], assumed: Assumed) -> str:
    """What was assumed, and a table in Markdown."""
    read, out = 1e-12 * assumed.photos * assumed.photo_bytes, 1e-12 * assumed.photos * written
    rows = [
        f"| {line.gpus} | {line.photos_per_second:,.0f} | {line.hours:,.2f} | {line.gpu_hours:,.1f} | "
        f"{line.dollars:,.0f} | {line.bound} | {line.read_gbs:,.2f} | {line.written_gbs:,.2f} |"
        for line in lines
    ]
    title += f": {LABEL}"
    amounts = f"{assumed.photos:,} photos, {read:.1f} TB to read, {out:.1f} TB of float16 features before compression"
    per_photo = f"{1e6 * encode_seconds:.1f} us for a photo by the cost model of the kernels"
    told = (
        f"assumed: {1e-6 * assumed.photo_bytes:g} MB a photo, {1e3 * assumed.decode_seconds:g} ms of a core for it, "
        f"{assumed.cores} cores a GPU, {assumed.reached:.0%} of the model's rate, {assumed.price:g} dollars a GPU hour"
    )
    head = "| GPUs | photos/s | hours | GPU hours | dollars | bound by | GB/s read | GB/s written |"
    return "\n".join([title, amounts, per_photo, told, "", head, "|---:|---:|---:|---:|---:|:---|---:|---:|", *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_estimate", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("--variant", default="l0", choices=list(VARIANTS), help="default: l0")
    parser.add_argument("--device", default="a100", choices=list(DEVICES), help="default: a100")
    parser.add_argument("--gpus", type=whole(1), nargs="+", default=[1, 8, 64], metavar="N", help="default: 1 8 64")
    parser.add_argument("--photos", type=whole(1), default=Assumed.photos, help="default: %(default)s, SA-1B")
    parser.add_argument("--photo-bytes", type=whole(1), default=Assumed.photo_bytes, help="default: %(default)s")
    parser.add_argument(
        "--decode-seconds", type=number(1e-6, 60), default=Assumed.decode_seconds, help="default: %(default)s"
    )
    parser.add_argument("--cores", type=whole(1), default=Assumed.cores, help="of a GPU (default: %(default)s)")
    parser.add_argument("--reached", type=number(1e-3, 1), default=Assumed.reached, help="default: %(default)s")
    parser.add_argument("--price", type=number(0, 1000), default=Assumed.price, help="dollars (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")
    options = parser.parse_args(arguments)
    assumed = Assumed(
        options.photos, options.photo_bytes, options.decode_seconds, options.cores, options.reached, options.price
    )
    device = get_device(options.device)
    try:
        model = model_encoder(VARIANTS[options.variant], device, BATCH, registers_of(load()), launches)
    except ValueError as error:
        parser.error(str(error))
    if model.missing:
        parser.error(f"--variant: expected one whose kernels are in the cost model, got {options.variant}")
    encode_seconds, written = model.seconds / BATCH, embedding_bytes(options.variant)
    lines = [estimate(encode_seconds, written, gpus, assumed) for gpus in options.gpus]
    title = f"embeddings of SA-1B, {options.variant} in fp16 on {device.title}"
    print(as_text(title, encode_seconds, written, lines, assumed))
    if options.json:
        document = {
            "kind": LABEL,
            "variant": options.variant,
            "device": device.name,
            "batch": BATCH,
            "encode_seconds": encode_seconds,
            "embedding_bytes": written,
            "assumed": asdict(assumed),
            "lines": [asdict(line) for line in lines],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"\nwrote {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
