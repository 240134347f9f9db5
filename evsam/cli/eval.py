"""``evsam eval``: its arguments, which processes score which photos, and what is written of the scores."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evsam.cli import console
from evsam.cli.arguments import add_model_arguments, engine_options, number, whole

if TYPE_CHECKING:
    from evsam.data import PhotoSource
    from evsam.evaluation.protocols import PhotoProtocol
    from evsam.evaluation.report import Case
    from evsam.evaluation.runner import Event, Job, Part, Results
    from evsam.sam import Sam
    from evsam.weights import Weights

DESCRIPTION = """What a model scores on annotated photos, with prompts made from their masks.

  evsam eval nano DATA -o scores/                                       true boxes and clicks
  evsam eval l0 coco/val2017 --annotations coco/annotations/instances_val2017.json \\
      --protocol paper --prompts box clicks --clicks 1 -o scores/       as in the paper's tables
  evsam eval l0 DATA --compare my.safetensors --prompts fidelity -o scores/

Writes scores.json, scores.md and report.html, a page with tables, curves and pictures. Stopped, it
goes on where it was by the same command. docs/evaluation.md has the commands for the paper's tables."""

PROMPTS = {
    "box": "the boxes of the annotations",
    "loose-box": "boxes whose edges are moved by noise, a tenth of a side",
    "clicks": "clicks, each in the middle of the largest error",
    "ellipse": "no model: the ellipse inscribed in the box, which a model has to beat",
    "detections": "boxes of a detector, --detections",
    "everything": "no prompt: all masks of a photo",
    "fidelity": "how far the model is from that of --compare",
}

KINDS = {
    "annotated": "a folder with SPLIT/SET.json and the photos SPLIT/SET/FILE",
    "coco": "a folder of photos, with --annotations",
    "lvis": "the folder with train2017 and val2017, with --annotations",
    "sa1b": "SA-1B's tars: their folder, a pattern, or one of them",
    "sa1b-folder": "a folder with sa_N.jpg and sa_N.json",
}

MEASURES = {"boundary": "boundary_iou", "f": "f"}

SILENCE = 60.0
"""Seconds between lines about the progress, where there is no terminal for a bar."""

LOOSENESS = 0.1
"""Noise on the edges of loose boxes, in sides of the box: SAM's training has the same (arXiv 2304.02643)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam eval``."""
    parser.add_argument(
        "model", nargs="?", help="variant, weights file, folder of evsam export, or folder of a training run"
    )
    parser.add_argument("data", nargs="?", type=Path, help="photos and masks, see --kind")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", required=True, help="where scores and all that was computed go"
    )
    _add_data_arguments(parser.add_argument_group("photos"))
    _add_protocol_arguments(parser.add_argument_group("prompts and scores"))
    add_model_arguments(parser.add_argument_group("model"))
    _add_process_arguments(parser.add_argument_group("processes"))


def _add_data_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--kind",
        choices=KINDS,
        help="what DATA is (default: coco with --annotations, else annotated): "
        + "; ".join(f"{name}: {text}" for name, text in KINDS.items()),
    )
    group.add_argument("--annotations", type=Path, metavar="FILE", help="json file of the kinds coco and lvis")
    group.add_argument("--split", default="val", help="of the kind annotated (default: val)")
    group.add_argument("--sets", nargs="+", metavar="SET", help="only these of several sets (default: all)")
    group.add_argument(
        "--every-nth", type=whole(1), default=1, metavar="N", help="only each n-th photo of a set (default: 1)"
    )
    group.add_argument("--limit", type=whole(1), metavar="N", help="at most so many photos of a set")
    group.add_argument(
        "--max-broken",
        type=number(0, 1),
        default=0.05,
        metavar="SHARE",
        help="share of photos that may be unusable before the run stops (default: 0.05)",
    )


def _add_protocol_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--prompts",
        nargs="+",
        choices=tuple(PROMPTS),
        default=["box", "clicks"],
        metavar="PROMPT",
        help="; ".join(f"{name}: {text}" for name, text in PROMPTS.items()) + " (default: box clicks)",
    )
    group.add_argument(
        "--protocol",
        choices=("evsam", "paper"),
        default="evsam",
        help="paper: as in the tables of EfficientViT-SAM's paper (--masks three --sizes authors, crowds count, clicks "
        "without the last mask); evsam: as people use a model (--masks one --sizes coco, three masks for the first "
        "click, then the last mask beside the clicks) (default: evsam)",
    )
    group.add_argument(
        "--masks", choices=("one", "three"), help="one mask, or of three that with the best predicted IoU"
    )
    group.add_argument(
        "--sizes", choices=("coco", "authors"), help="whose limits of small, medium and large: COCO's or the paper's"
    )
    group.add_argument(
        "--clicks", type=whole(1, 100), default=5, metavar="K", help="clicks on each object (default: 5)"
    )
    group.add_argument(
        "--measures",
        nargs="+",
        choices=("boundary", "f"),
        default=[],
        metavar="MEASURE",
        help="besides IoU: boundary for Boundary IoU, f for DAVIS's F, which gives J&F",
    )
    group.add_argument("--detections", type=Path, metavar="FILE", help="results of a detector, COCO's json")
    group.add_argument(
        "--max-dets", type=whole(1), metavar="N", help="detections of a photo that count (default: 100; LVIS: 300)"
    )
    group.add_argument("--compare", metavar="MODEL", help="the model that fidelity compares with")


def _add_process_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--workers", type=whole(1, 1024), default=1, metavar="N", help="processes that share the photos (default: 1)"
    )
    group.add_argument(
        "--part", type=_part, metavar="I/N", help="score only the I-th of N parts, as another machine scores the others"
    )
    group.add_argument(
        "--merge",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="put parts together that were scored in folders of their own; with MODEL and DATA, pictures are made too",
    )
    group.add_argument(
        "--pictures", type=whole(0, 100), default=4, metavar="N", help="worst and median cases on the page (default: 4)"
    )


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected a part such as 1/4, got {text[:40]}")
    return int(match[1]) - 1, int(match[2])


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say: 0, or 1 if photos had to be left out."""
    from evsam.writing import check_folder

    check_folder(arguments.output)
    if arguments.merge:
        return _merge(arguments)
    if arguments.model is None or arguments.data is None:
        arguments.fail("give a model and its data, or --merge FOLDER ...")
    _check(arguments)
    return _evaluate(arguments)


def _check(arguments: argparse.Namespace) -> None:
    """Make sure that what is asked for fits together."""
    for prompt, option in (("detections", "detections"), ("fidelity", "compare")):
        if prompt in arguments.prompts and not getattr(arguments, option):
            arguments.fail(f"--prompts {prompt} needs --{option}")
        if getattr(arguments, option) and prompt not in arguments.prompts:
            arguments.fail(f"--{option} is of --prompts {prompt}: give that too")
    if len(set(arguments.prompts)) < len(arguments.prompts):
        arguments.fail("--prompts: expected each once")
    if arguments.kind is None:
        arguments.kind = "annotated" if arguments.annotations is None else "coco"
    if arguments.annotations is None and arguments.kind in ("coco", "lvis"):
        arguments.fail(f"--kind {arguments.kind} needs --annotations")


def _evaluate(arguments: argparse.Namespace) -> int:
    """Score this process's part; write the scores if no photo is left after it."""
    from evsam.evaluation.runner import Job, RowFiles, read_results, run_part, run_workers

    part, options = _share(arguments)
    data = _Data.of(arguments)
    job = Job(
        open_model=partial(open_model, arguments.model, options),
        open_sets=data.open,
        protocols=_protocols(arguments),
        every_nth=arguments.every_nth,
        limit=arguments.limit,
        most_broken=arguments.max_broken,
    )
    sets = data.open()  # before the model: a mistyped path should not take seconds to be told
    places = job.places(sets)
    files = RowFiles(arguments.output)
    files.settle(_settings(arguments, options, job, sets), _given(arguments))
    mine = part.of(places)
    done = len(read_results([files], mine).scored)
    with _Progress(len(mine), done) as progress:
        if arguments.workers > 1 and done < len(mine):
            run_workers(job, files, part, arguments.workers, progress)
        else:
            run_part(job, files, part, progress)
    results = read_results([files], places)
    missing = len(places) - len(results.scored) - len(results.broken)
    if missing:
        console.say(f"part {part} is done, {missing} photos are left; the part that is done last writes the scores")
        return 0
    cases = _cases(arguments, job, sets, results)
    return _write(arguments.output, files.settings(), results, job.protocols, cases)


def _merge(arguments: argparse.Namespace) -> int:
    """Put parts together; nothing is scored."""
    from evsam.evaluation.runner import EvaluationError, RowFiles, compare_settings, places_of, read_results

    files = [RowFiles(folder) for folder in arguments.merge]
    document = files[0].settings()
    for other in files[1:]:
        compare_settings(other.settings()["settings"], document["settings"], str(other.folder))
    settings = document["settings"]
    photos = settings["photos"]
    counts = {name: one["photos"] for name, one in photos["sets"].items()}
    places = places_of(counts, photos["every_nth"], photos["limit"])
    results = read_results(files, places)
    found = len(results.scored) + len(results.broken)
    if found < len(places):
        raise EvaluationError(
            f"--merge: expected all {len(places)} photos in {', '.join(map(str, arguments.merge))}, got {found}; score "
            "the other parts first"
        )
    protocols = [make_protocol(record) for record in settings["protocols"].values()]
    return _write(arguments.output, document, results, protocols, {})


def _share(arguments: argparse.Namespace) -> tuple[Part, dict[str, Any]]:
    """Which part of the photos this process scores, and the options of its engine."""
    from evsam._C import usable_cpus
    from evsam.evaluation.runner import Part

    options = engine_options(arguments)
    part, neighbours = Part(*(arguments.part or (0, 1))), 1
    if not arguments.part and {"RANK", "WORLD_SIZE"} <= set(os.environ):  # torchrun
        part = Part(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if options["device"] == "cuda":
            options["device"] = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    processes = neighbours * arguments.workers
    if processes > 1 and options["threads"] is None:
        options["threads"] = max(1, usable_cpus() // processes)
    return part, options


@dataclass(frozen=True)
class _Data:
    """The photos that the arguments mean; worker processes open them on their own."""

    kind: str
    path: Path
    annotations: Path | None
    split: str
    sets: tuple[str, ...]
    empty: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> _Data:
        empty = bool({"detections", "everything", "fidelity"} & set(arguments.prompts))
        sets = tuple(arguments.sets or ())
        return cls(arguments.kind, arguments.data, arguments.annotations, arguments.split, sets, empty)

    def open(self) -> dict[str, PhotoSource]:
        """The photos, by name of the set."""
        from evsam.data import CocoPhotos, DataError, Sa1bFolder, Sa1bTars, list_sets, read_set

        if self.kind == "annotated":
            names = self.sets or tuple(list_sets(self.path, self.split))
            if not names:
                raise DataError(f"data {self.path}: expected sets of split {self.split}, got none")
            return {name: read_set(self.path, self.split, name) for name in names}
        if self.annotations is not None:  # coco, lvis
            return {self.path.name: CocoPhotos(self.path, self.annotations, empty=self.empty)}
        return {self.path.name: (Sa1bTars if self.kind == "sa1b" else Sa1bFolder)(self.path)}


def open_model(source: str, options: Mapping[str, Any]) -> Sam:
    """The model that an argument means.

    Args:
        source: what :func:`evsam.load` takes, or the folder of a training run, whose averaged weights are taken.
        options: of :func:`evsam.load`.
    """
    from evsam.sam import load

    return load(_run_weights(source) or source, **options)


def _run_weights(source: str) -> Weights | None:
    if not (Path(source) / "config.yaml").is_file():
        return None
    from evsam.training.convert import run_weights  # noqa: TID251 - the command line stands on everything

    weights: Weights = run_weights(source)
    return weights


def _describe_model(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """By what a model is told apart: its weights, and what computes."""
    from evsam.engines import find_engine
    from evsam.export.folder import MANIFEST, ExportFolder
    from evsam.weights import load_weights, model_fingerprint

    if (Path(source) / MANIFEST).is_file():
        folder = ExportFolder.open(Path(source))
        files = {part: record["sha256"] for part, record in folder.manifest["files"].items()}
        return {
            "variant": folder.variant.name,
            "weights": files,
            "engine": folder.kind,
            "precision": folder.manifest["precision"],
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # loading warns again
        engine = find_engine(options["engine"], options["device"], options["precision"])
    weights = _run_weights(source) or load_weights(source)
    return {
        "variant": weights.variant.name,
        "weights": model_fingerprint(weights),
        "engine": engine.name,
        "precision": options["precision"] or engine.precisions[0],
    }


def _protocols(arguments: argparse.Namespace) -> tuple[PhotoProtocol, ...]:
    from evsam.evaluation.protocols import Boxes, Clicks, Ellipses

    paper = arguments.protocol == "paper"
    three = (arguments.masks or ("three" if paper else "one")) == "three"
    measures = tuple(MEASURES[name] for name in arguments.measures)
    common: dict[str, Any] = {"bins": arguments.sizes or ("authors" if paper else "coco"), "crowds": paper}
    boxes: dict[str, Any] = {**common, "multimask": three, "best": three, "measures": measures}
    clicks: dict[str, Any] = {
        **common,
        "clicks": arguments.clicks,
        "multimask": "always" if three else "first",
        "feed_mask": not paper,
        "pixel": "corner" if paper else "centre",
        "measures": measures,
    }
    made: dict[str, Callable[[], PhotoProtocol]] = {
        "box": partial(Boxes, "box", **boxes),
        "loose-box": partial(Boxes, "loose-box", jitter=LOOSENESS, **boxes),
        "clicks": partial(Clicks, "clicks", **clicks),
        "ellipse": partial(Ellipses, "ellipse", **common),
    }
    return tuple(made[name]() for name in arguments.prompts)


def make_protocol(record: Mapping[str, Any]) -> PhotoProtocol:
    """A protocol from its settings, as :func:`_settings` wrote them."""
    from evsam.evaluation import protocols

    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items() if name != "kind"
    }
    made: PhotoProtocol = getattr(protocols, record["kind"])(**values)
    return made


def _settings(
    arguments: argparse.Namespace, options: Mapping[str, Any], job: Job, sets: Mapping[str, PhotoSource]
) -> dict[str, Any]:
    """All that numbers depend on."""
    from evsam.evaluation.runner import describe_sets
    from evsam.info import installed

    return {
        "evsam": installed("evsam"),
        "model": _describe_model(arguments.model, options),
        "photos": describe_sets(sets, arguments.every_nth, arguments.limit),
        # protocols are dataclasses
        "protocols": {one.name: {"kind": type(one).__name__, **asdict(cast(Any, one))} for one in job.protocols},
    }


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was typed, for people."""
    names = ("model", "data", "kind", "annotations", "detections", "compare", "protocol")
    return {name: None if (value := getattr(arguments, name)) is None else str(value) for name in names}


class _Progress:
    """Tells how far it is, and of photos that could not be used: a bar on a terminal, else a line each minute."""

    def __init__(self, total: int, done: int) -> None:
        self._bar, self._done = console.Progress(total, done), done
        self._told = time.monotonic()

    def __enter__(self) -> _Progress:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.clear()

    def __call__(self, event: Event) -> None:
        self._done += 1
        if event.broken is not None:
            self._bar.clear()
            console.complain(f"{event.place[0]}: {event.photo}: left out: {event.broken}")
        self._bar.show(self._done, Path(event.photo).name)
        if not self._bar.shown and time.monotonic() > self._told + SILENCE:
            self._told = time.monotonic()
            console.note(f"{self._bar.text(self._done)}")


def _cases(
    arguments: argparse.Namespace, job: Job, sets: Mapping[str, PhotoSource], results: Results
) -> dict[str, list[Case]]:
    """Pictures of the worst and the median objects, by set."""
    from evsam.evaluation.report import choose_cases, draw_cases

    chosen = {
        name: found
        for name, rows in results.rows.items()
        if (found := choose_cases(job.protocols, rows, arguments.pictures))
    }
    if not chosen:
        return {}
    numbers = {(place[0], key): place[1] for place, key in results.scored.items()}
    with job.open_model() as sam:
        return {
            name: draw_cases(sam, found, lambda key, name=name: sets[name][numbers[name, key]])  # type: ignore[misc]
            for name, found in chosen.items()
        }


def _write(
    folder: Path,
    document: Mapping[str, Any],
    results: Results,
    protocols: Sequence[PhotoProtocol],
    cases: Mapping[str, list[Case]],
) -> int:
    """Write what was found in all its forms, and say it."""
    from evsam.evaluation import report
    from evsam.writing import replaced

    tables = results.tables(protocols)
    scores = {
        **document,
        "photos": {"scored": len(results.scored), "broken": len(results.broken)},
        "tables": tables,
        "broken": results.broken,
    }
    sections = report.sections(tables, document, results, cases)
    texts = {
        "scores.json": json.dumps(report.finite(scores), indent=1, allow_nan=False) + "\n",
        "scores.md": report.as_markdown(sections) + "\n",
        "report.html": report.as_page(document, sections, results),
    }
    for name, text in texts.items():
        with replaced(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    console.say(texts["scores.md"])
    console.say(f"wrote {folder / 'scores.json'}, {folder / 'scores.md'} and {folder / 'report.html'}")
    if results.broken:
        console.complain(f"{len(results.broken)} of {len(results.broken) + len(results.scored)} photos were left out")
    return 1 if results.broken else 0
