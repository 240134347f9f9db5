"""Which layers read 8 bits: as many as embeddings and masks allow.

A layer's error is measured with that layer alone in 8 bits. Layers give way to float16 one after the other, first those
with the largest error for the work that 8 bits would do, until embeddings and masks of the rest are within the limits:
of the encoder first, then of the decoder behind that encoder. Scales are found on some photos and limits checked on
others, where there are several. The search runs in float32 with Q/DQ nodes; what the report says of the whole model is
measured on the models that are written. Both are run by onnxruntime on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.engines.onnxruntime import open_session
from evsam.errors import EvsamError
from evsam.export.graph import FLOAT, INT64, Graph, Value
from evsam.export.quantization import NumberFormat, Quantization, Rule, activation_scale

Array = npt.NDArray[np.float32]
Arrays = Mapping[str, Array]

SAMPLES = 1 << 14
"""Numbers of a tensor that are kept of each run, about."""

PHOTOS_ALONE = 2
"""Photos on which the error of single layers is measured."""

LEAST_SHARE = 0.005
"""Of a part's multiply-adds; layers with less are not worth Q/DQ nodes of their own."""

RESERVE = 0.25
"""Of what masks may lose, what is left to the decoder."""

KEPT, GROUPED, SMALL, ELSEWHERE = (
    "float16 keeps the limits",
    "convolution in groups, for which TensorRT has no fast kernels",
    "little work",
    "inside a plugin's node, or of a decoder in float32",
)
"""Why a layer does not read 8 bits."""


@dataclass(frozen=True)
class Limits:
    """What 8 bits must keep.

    Attributes:
        cosine: of every map of the encoder with that of float32, on every photo, at least.
        iou: of masks with those of float32, the mean over prompts and photos, at least.
    """

    cosine: float = 0.999
    iou: float = 0.99

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise EvsamError(f"{name}: expected a limit from 0 to 1, got {value:g}")


@dataclass(frozen=True)
class Agreement:
    """How near a model is to float32: the lowest cosine of a map on any photo, and the mean IoU of masks."""

    cosine: float
    iou: float

    def within(self, limits: Limits) -> bool:
        """Whether that is near enough."""
        return self.cosine >= limits.cosine and self.iou >= limits.iou


@dataclass(frozen=True)
class LayerChoice:
    """What became of a layer.

    Attributes:
        part: ``encoder`` or ``decoder``.
        name: of the layer, as in :attr:`evsam.export.graph.Graph.layers`.
        precision: ``int8`` or ``fp8``, or ``fp16``.
        share: of the multiply-adds of the part's layers with weights.
        error: relative, of the part's outputs with this layer alone in 8 bits; None where nobody had to know.
        scale: of what it reads; None in float16.
        why: in float16: the reason.
    """

    part: str
    name: str
    precision: str
    share: float
    error: float | None
    scale: float | None
    why: str


@dataclass(frozen=True)
class LayerReport:
    """Which layers read 8 bits, and what that costs.

    Attributes:
        precision: ``int8`` or ``fp8``.
        rule: of the scales.
        limits: that were asked for.
        found_on: photos that scales were found on.
        checked_on: other photos, that errors were measured and limits checked on; 0 where there was one photo for all.
        layers: all of them, in the order of the network.
        agreement: with float32, of the model that is written.
    """

    precision: str
    rule: Rule
    limits: Limits
    found_on: int
    checked_on: int
    layers: tuple[LayerChoice, ...]
    agreement: Agreement

    def share(self, part: str) -> float:
        """Of a part's multiply-adds, those on 8 bits."""
        return sum(row.share for row in self.layers if row.part == part and row.precision == self.precision)

    def as_text(self) -> str:
        """A table for people."""
        width = max(len(row.name) for row in self.layers)
        lines = [f"{'layer':<{width}}  {'part':<7}  {'stored':<6}  {'work':>6}  {'error':>7}  why"]
        for row in self.layers:
            error = "" if row.error is None else f"{row.error:.1e}"
            line = f"{row.name:<{width}}  {row.part:<7}  {row.precision:<6}  {row.share:>6.1%}  {error:>7}  {row.why}"
            lines.append(line.rstrip())
        photos = f"{self.checked_on} others" if self.checked_on else "the same"
        lines.append(
            f"{self.precision} does {self.share('encoder'):.0%} of the encoder's multiply-adds and "
            f"{self.share('decoder'):.0%} of the decoder's; scales were found on {self.found_on} images by the rule "
            f"{self.rule}, and on {photos} the lowest cosine to float32 is {self.agreement.cosine:.5f} and the mean "
            f"IoU of masks {self.agreement.iou:.4f}"
        )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        shares = {part: self.share(part) for part in ("encoder", "decoder")}
        return {**asdict(self), "share": shares}


@dataclass(frozen=True, eq=False)
class Parts:
    """A model whose layers are looked at.

    Attributes:
        encoder: writes it to an empty graph.
        decoder: the same, with all four masks.
        feeds: inputs of the decoder for the maps of a photo and its pixels.
        usable: names of the layers that the model will have as layers.
    """

    encoder: Callable[[Graph], None]
    decoder: Callable[[Graph], None]
    feeds: Callable[[Arrays, Array], Iterable[Arrays]]
    usable: frozenset[str]


@dataclass(frozen=True)
class Sample:
    """What a layer reads.

    Attributes:
        values: some of it.
        largest: magnitude of all of it.
        count: numbers in all runs.
    """

    values: Array
    largest: float
    count: float


class Reference:
    """What float32 answers on some photos.

    Attributes:
        pixels: the photos, float32 (3, S, S) each.
        features: their maps.
    """

    def __init__(self, parts: Parts, pixels: Sequence[Array], threads: int | None = None) -> None:
        self.pixels = pixels
        self.features = encode(open_part(parts.encoder, None, threads), pixels)
        self._parts = parts
        self._masks = self._decode(open_part(parts.decoder, None, threads), self.features)

    def agreement(self, features: Sequence[Arrays], decoder: Any) -> Agreement:
        """Of other maps of these photos, and of a decoder's session behind them."""
        overlaps = []
        for found, exact in zip(self._decode(decoder, features), self._masks, strict=True):
            both, either = (found & exact).sum((1, 2)), (found | exact).sum((1, 2))
            overlaps.append(np.where(either > 0, both / np.maximum(either, 1), 1))
        return Agreement(self.cosine(features), float(np.concatenate(overlaps).mean()))

    def cosine(self, features: Sequence[Arrays]) -> float:
        """The lowest one of other maps of these photos."""
        pairs = zip(features, self.features, strict=True)
        return min(_cosine(found[name], exact[name]) for found, exact in pairs for name in exact)

    def _decode(self, session: Any, features: Sequence[Arrays]) -> list[npt.NDArray[np.bool_]]:
        """The single mask for each prompt, at the logits' size."""
        feeds = _feeds(self._parts, features, self.pixels)
        return [session.run(["low_res_masks"], dict(feed))[0][:, 0] > 0 for feed in feeds]


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen.

    Attributes:
        plans: which layers of ``encoder`` and ``decoder`` read 8 bits.
        layers: rows of the report.
        found_on: photos that scales were found on.
        reference: the photos that limits were checked on, the others where there are several, in float32.
    """

    plans: Mapping[str, Quantization]
    layers: tuple[LayerChoice, ...]
    found_on: int
    reference: Reference


def choose_layers(
    parts: Parts,
    number_format: NumberFormat,
    pixels: Sequence[Array],
    limits: Limits,
    rule: Rule,
    threads: int | None = None,
) -> Choice:
    """Find scales and layers.

    Args:
        parts: the model.
        number_format: of 8 bits.
        pixels: calibration images, each float32 (3, S, S).
        limits: to keep.
        rule: how scales are chosen.
        threads: upper limit of CPU threads.

    Raises:
        EvsamError: no images.
    """
    if not pixels:
        raise EvsamError("images: expected at least one to find scales on, got none")
    found_on, checked_on = pixels[::2], pixels[1::2] or pixels
    reference = Reference(parts, checked_on, threads)
    few = reference.features[:PHOTOS_ALONE]

    samples = sample_inputs(parts.encoder, ({"images": image[None]} for image in found_on), threads)
    encoder = _Candidates("encoder", samples, parts.usable, number_format, rule)
    maps = encode(open_part(parts.encoder, None, threads), found_on)
    samples = sample_inputs(parts.decoder, _feeds(parts, maps, found_on), threads)
    decoder = _Candidates("decoder", samples, parts.usable, number_format, rule)

    def encoded(plan: Quantization, count: int | None = None) -> list[Arrays]:
        return encode(open_part(parts.encoder, plan, threads), checked_on[:count])

    def logits(plan: Quantization | None) -> list[Arrays]:
        session = open_part(parts.decoder, plan, threads)
        return [{"logits": session.run(["low_res_masks"], dict(feed))[0]} for feed in _feeds(parts, few, checked_on)]

    exact, exact_logits = open_part(parts.decoder, None, threads), logits(None)
    first = Limits(limits.cosine, limits.iou + RESERVE * (1 - limits.iou)) if decoder.names else limits
    plan = encoder.choose(
        lambda plan: reference.agreement(encoded(plan), exact).within(first),
        lambda plan: _error(encoded(plan, len(few)), few),
    )
    features = encoded(plan)
    other = decoder.choose(
        lambda plan: reference.agreement(features, open_part(parts.decoder, plan, threads)).within(limits),
        lambda plan: _error(logits(plan), exact_logits),
    )
    rows = (*encoder.report(plan), *decoder.report(other))
    return Choice({"encoder": plan, "decoder": other}, rows, len(found_on), reference)


class _Candidates:
    """The layers of a part, and what was found out about them.

    Args:
        part: ``encoder`` or ``decoder``.
        samples: of what each layer reads, with its work; by its name.
        usable: names of those that may read 8 bits.
        number_format: of these.
        rule: of scales.
    """

    def __init__(
        self,
        part: str,
        samples: Mapping[str, tuple[Sample, float, bool]],
        usable: frozenset[str],
        number_format: NumberFormat,
        rule: Rule,
    ) -> None:
        self._part, self._format = part, number_format
        total = sum(sample.count * work for sample, work, _ in samples.values())
        self._shares = {name: sample.count * work / total for name, (sample, work, _) in samples.items()}
        self._why = dict.fromkeys(samples, "")
        self._scales: dict[str, float] = {}
        self._errors: dict[str, float] = {}
        known: dict[int, float] = {}  # of values that several layers read
        for name, (sample, _, grouped) in samples.items():
            if name not in usable:
                self._why[name] = ELSEWHERE
            elif grouped and not number_format.grouped:
                self._why[name] = GROUPED
            elif self._shares[name] < LEAST_SHARE:
                self._why[name] = SMALL
            else:
                if id(sample) not in known:
                    known[id(sample)] = activation_scale(sample.values, sample.largest, number_format, rule)
                self._scales[name] = known[id(sample)]

    @property
    def names(self) -> list[str]:
        """Of the layers that may read 8 bits."""
        return list(self._scales)

    def choose(self, allowed: Callable[[Quantization], bool], error: Callable[[Quantization], float]) -> Quantization:
        """The plan with the fewest layers taken out that is allowed; with none left it is float32, which always is.

        Args:
            allowed: whether a plan is.
            error: of a plan with one layer; it is asked for if not all layers are allowed together.
        """
        if allowed(everything := self._plan(self._scales)):
            return everything
        self._errors = {name: error(self._plan([name])) for name in self._scales}
        order = sorted(self._scales, key=lambda name: self._errors[name] / self._shares[name], reverse=True)
        low, high = 1, len(order)  # with `high` of them taken out it is allowed
        while low < high:
            middle = (low + high) // 2
            if allowed(self._plan(order[middle:])):
                high = middle
            else:
                low = middle + 1
        return self._plan(order[high:])

    def report(self, plan: Quantization) -> Iterator[LayerChoice]:
        """A row for each layer."""
        for name, share in self._shares.items():
            scale, error = plan.scales.get(name), self._errors.get(name)
            precision = "fp16" if scale is None else self._format.name
            why = "" if scale is not None else self._why[name] or KEPT
            yield LayerChoice(self._part, name, precision, share, error, scale, why)

    def _plan(self, names: Iterable[str]) -> Quantization:
        return Quantization(self._format, {name: self._scales[name] for name in names})


def open_part(write: Callable[[Graph], None], plan: Quantization | None = None, threads: int | None = None) -> Any:
    """A session of onnxruntime for a part in float32, with Q/DQ nodes where a plan says so."""
    graph = Graph("part", quantization=plan)
    write(graph)
    return open_session(graph.model({}).SerializeToString(), threads)


def encode(session: Any, pixels: Iterable[Array]) -> list[Arrays]:
    """Maps of photos by their names."""
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, {"images": image[None]}), strict=True)) for image in pixels]


def _feeds(parts: Parts, features: Sequence[Arrays], pixels: Sequence[Array]) -> Iterator[Arrays]:
    """Inputs of the decoder for maps of the first photos."""
    for maps, image in zip(features, pixels, strict=False):
        yield from parts.feeds(maps, image)


def sample_inputs(
    write: Callable[[Graph], None], feeds: Iterable[Arrays], threads: int | None = None
) -> dict[str, tuple[Sample, float, bool]]:
    """What the layers of a part read: a sample, multiply-adds for each number of it, and whether it goes in groups.

    Layers that read the same value share the sample.
    """
    graph = Graph("samples")
    write(graph)
    values = list(dict.fromkeys(layer.x for layer in graph.layers.values()))
    outputs = [name for value in values for name in _add_sample(graph, value)]
    session = open_session(graph.model({}).SerializeToString(), threads)
    kept: dict[str, list[Array]] = {name: [] for name in outputs}
    for feed in feeds:
        for name, value in zip(outputs, session.run(outputs, dict(feed)), strict=True):
            kept[name].append(value)
    found = {}
    for index, value in enumerate(values):
        some, largest, count = (kept[name] for name in outputs[3 * index : 3 * index + 3])
        found[value] = Sample(np.concatenate(some), float(np.max(largest)), float(np.sum(count)))
    return {name: (found[layer.x], layer.work, layer.grouped) for name, layer in graph.layers.items()}


def _add_sample(graph: Graph, value: str) -> list[str]:
    """Outputs with some numbers of a value, the largest magnitude, and how many there are."""
    flat = Value(graph, graph.wide(value)).op("Reshape", np.array([-1]))
    count = flat.op("Shape", dtype=INT64)
    # an odd step, so that columns of maps take turns
    step = count.op("Div", 2 * SAMPLES).op("Mul", 2).op("Add", 1)
    some = flat.op("Slice", np.array([0]), count, np.array([0]), step)
    numbers = {
        f"{value}.sample": (some, (None,)),
        f"{value}.largest": (flat.op("Abs").op("ReduceMax", keepdims=0), ()),
        f"{value}.count": (count.cast(FLOAT), (1,)),
    }
    for name, (number, shape) in numbers.items():
        graph.output(name, number.name, shape)
    return list(numbers)


def _error(found: Sequence[Arrays], exact: Sequence[Arrays]) -> float:
    """Root of the mean over runs and arrays of the squared relative error."""
    squares = [
        np.square(a[name] - b[name], dtype=np.float64).sum() / np.square(b[name], dtype=np.float64).sum()
        for a, b in zip(found, exact, strict=True)
        for name in b
    ]
    return float(np.sqrt(np.mean(squares)))


def _cosine(a: Array, b: Array) -> float:
    x, y = (array.ravel().astype(np.float64) for array in (a, b))
    lengths = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / lengths) if lengths > 0 else float(np.array_equal(x, y))
