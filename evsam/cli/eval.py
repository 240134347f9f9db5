"""``evsam eval``: its arguments, which processes score which photos, and what is written of the scores."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evsam.cli import console
from evsam.cli.arguments import add_model_arguments, engine_options, number, whole
from evsam.cli.eval_setup import MEASURES, SEARCHING, TRACKERS, Data, Protocols, describe_model, open_model

if TYPE_CHECKING:
    from evsam.datasets import Photos
    from evsam.evaluation.cases import Case
    from evsam.evaluation.protocols import PhotoProtocol
    from evsam.evaluation.runner import Event, Part, Results, RowFiles, Score
    from evsam.sam import Sam

DESCRIPTION = """What a model scores on annotated photos, with prompts made from their masks.

  evsam eval nano DATA -o scores/                                       true boxes and clicks
  evsam eval l0 coco/val2017 --annotations coco/annotations/instances_val2017.json \\
      --protocol paper --prompts box clicks --clicks 1 -o scores/       as in the paper's tables
  evsam eval l0 DATA --compare my.safetensors --prompts fidelity -o scores/
  evsam eval nano --video DAVIS -o scores/                              objects followed through videos

Writes scores.json, scores.md and report.html, a page with tables, curves and pictures. Stopped, it
goes on where it was by the same command. docs/evaluation.md has the commands for the paper's tables."""

PROMPTS = {
    "box": "the boxes of the annotations",
    "loose-box": "boxes whose edges are moved by noise, a tenth of a side",
    "clicks": "clicks, each where the error is deepest",
    "clicks-alone": "the same without the last mask beside them, to see what it gains",
    "masks": "the model's own answers to a box and to a click, alone and beside a click",
    "blank-box": "the boxes on a grey photo, to see what they alone are worth",
    "blank-clicks": "one click on a grey photo",
    "ellipse": "no model: the ellipse inscribed in the box, which a model has to beat",
    "detections": "boxes of a detector, --detections",
    "everything": "no prompt: all masks of a photo",
    "fidelity": "how far the model is from that of --compare",
}

KINDS = ("auto", "coco", "lvis", "sginw", "masks", "annotated", "sa1b", "sa1b-folder")
"""As :func:`evsam.datasets.open_photos` has them."""

BACKENDS = ("pycocotools", "faster-coco-eval", "hotcoco")
"""As :mod:`evsam.evaluation.average_precision` has them."""

OBJECTS = ("auto", "each", "one")

SILENCE = 60.0
"""Seconds between lines about the progress, where there is no terminal for a bar."""

_MOST_PROCESSES = 10**6


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
    _add_video_arguments(parser.add_argument_group("videos"))
    add_model_arguments(parser.add_argument_group("model"))
    _add_process_arguments(parser.add_argument_group("processes"))


def _add_data_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--kind",
        choices=KINDS,
        default="auto",
        help="what DATA is: coco or lvis, the folder of COCO, or of photos with --annotations; sginw, SET/valid with "
        "_annotations.coco.json; masks, photos and masks of GrabCut, Berkeley, DAVIS or VOC, or with --mask-folder; "
        "annotated, SPLIT/SET.json and SPLIT/SET; sa1b, tars; sa1b-folder, unpacked ones (default: what is there)",
    )
    group.add_argument("--annotations", type=Path, metavar="FILE", help="json file of COCO or LVIS")
    group.add_argument("--mask-folder", type=Path, metavar="FOLDER", help="masks of the photos in DATA")
    group.add_argument(
        "--objects",
        choices=OBJECTS,
        default="auto",
        help="how masks are read: one object, one for each value or colour (default: what they look like; with "
        "--video: each)",
    )
    group.add_argument(
        "--ignore", type=_ignored, default="auto", metavar="VALUE", help="value of masks that does not count, or none"
    )
    group.add_argument("--split", default="val", help="of data that have splits (default: val)")
    group.add_argument("--sets", nargs="+", metavar="SET", help="only these of several sets (default: all)")
    group.add_argument(
        "--every-nth", type=whole(1), default=1, metavar="N", help="only each n-th photo of a set (default: 1)"
    )
    group.add_argument(
        "--half",
        choices=("all", "select", "report"),
        default="all",
        help="one half of each set, by the photos' names: choose by select, tell of report (default: all)",
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
        "--stop-at",
        type=number(0, 1),
        metavar="IOU",
        help="no more clicks on objects that have reached it; numbers of clicks stay the same (default: all clicks)",
    )
    group.add_argument(
        "--measures",
        nargs="+",
        choices=tuple(MEASURES),
        default=[],
        metavar="MEASURE",
        help="besides IoU: boundary for Boundary IoU; f for DAVIS's F, which gives J&F; pieces for the share of masks "
        "that are not in one piece where the object is; stability for how little masks depend on the threshold; "
        "calibration for what predicted IoU is worth",
    )
    group.add_argument(
        "--detections", type=Path, metavar="FILE", help="results of a detector, COCO's json; or a folder with SET.json"
    )
    group.add_argument(
        "--max-dets", type=whole(1), metavar="N", help="detections of a photo that count (default: 100; LVIS: 300)"
    )
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="package that computes average precision; all give the same numbers (default: pycocotools)",
    )
    group.add_argument(
        "--points-per-side", type=whole(1, 1024), default=32, metavar="N", help="grid of everything (default: 32)"
    )
    group.add_argument(
        "--crop-n-layers", type=whole(0, 6), default=0, metavar="N", help="crops of everything (default: 0)"
    )
    group.add_argument("--mode", choices=("fast", "exact"), default="fast", help="of everything (default: fast)")
    group.add_argument(
        "--compare",
        metavar="MODEL",
        help="what fidelity compares with: a folder of embeddings, or a model, in its engine's own choice of precision",
    )


def _add_video_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--video",
        type=Path,
        metavar="FOLDER",
        help="instead of DATA: videos in DAVIS's layout, whose objects are followed from the first frame on; J and F",
    )
    group.add_argument(
        "--trackers",
        nargs="+",
        choices=tuple(TRACKERS),
        metavar="TRACKER",
        help="; ".join(f"{name}: {text}" for name, text in TRACKERS.items()) + " (default: all)",
    )
    group.add_argument(
        "--window",
        type=number(1, 100),
        metavar="N",
        help="of the tracker track: encode only the part around the objects, N longer sides of the box around them",
    )


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
        "--side-by-side",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="write comparison.md and comparison.json: scores of finished evaluations of the same photos, and how they "
        "differ from the first's",
    )
    group.add_argument(
        "--pictures", type=whole(0, 100), default=4, metavar="N", help="worst and median cases on the page (default: 4)"
    )


def _ignored(text: str) -> int | str | None:
    return text if text == "auto" else None if text == "none" else whole(0)(text)


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected a part such as 1/4, got {text[:40]}")
    return int(match[1]) - 1, int(match[2])


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say: 0, or 1 if photos had to be left out."""
    from evsam.writing import check_folder

    check_folder(arguments.output)
    if arguments.side_by_side:
        return _side_by_side(arguments)
    _settle_video(arguments)
    if arguments.merge:
        return _merge(arguments)
    if arguments.model is None or arguments.data is None:
        arguments.fail("give a model and its data, or --merge FOLDER ...")
    _check(arguments)
    return _evaluate(arguments)


def _settle_video(arguments: argparse.Namespace) -> None:
    """With ``--video``, its folder is the data, and trackers take the place of prompts."""
    if arguments.video is None:
        for option in ("trackers", "window"):
            if getattr(arguments, option) is not None:
                arguments.fail(f"--{option} is of --video FOLDER: give that too")
        return
    if arguments.data is not None:
        arguments.fail("--video: expected no DATA beside it")
    if arguments.half != "all":
        arguments.fail("--half: expected photos, got --video")
    if arguments.kind not in ("auto", "masks"):
        arguments.fail(f"--video: expected frames and masks, --kind masks, got --kind {arguments.kind}")
    arguments.data, arguments.kind = arguments.video, "masks"
    if arguments.objects == "auto":  # labels of videos are numbers of objects, in whatever mode they are stored
        arguments.objects = "each"
    arguments.prompts = list(dict.fromkeys(arguments.trackers or TRACKERS))
    if arguments.window is not None and "track" not in arguments.prompts:
        arguments.fail("--window is of --trackers track: give that too")


def _check(arguments: argparse.Namespace) -> None:
    """Make sure that what is asked for fits together."""
    for prompt, option in (("detections", "detections"), ("fidelity", "compare")):
        if prompt in arguments.prompts and not getattr(arguments, option):
            arguments.fail(f"--prompts {prompt} needs --{option}")
        if getattr(arguments, option) and prompt not in arguments.prompts:
            arguments.fail(f"--{option} is of --prompts {prompt}: give that too")
    if len(set(arguments.prompts)) < len(arguments.prompts):
        arguments.fail("--prompts: expected each once")


def _evaluate(arguments: argparse.Namespace) -> int:
    """Score this process's part; write the scores if no photo is left after it."""
    from evsam.evaluation.runner import Job, RowFiles, read_results, run_part, run_workers

    part, options = _share(arguments)
    data, protocols = Data.of(arguments), Protocols.of(arguments, options)
    job = Job(
        open_model=partial(open_model, arguments.model, options),
        open_sets=data.open,
        protocols=protocols,
        every_nth=arguments.every_nth,
        limit=arguments.limit,
        most_broken=arguments.max_broken,
        score=_score_of(arguments),
    )
    sets = data.open()  # before the model: a mistyped path should not take seconds to be told
    places = job.places(sets)
    files = RowFiles(arguments.output)
    files.settle(_settings(arguments, options, protocols, sets), _given(arguments, protocols, sets))
    mine = part.of(places)
    done = len(read_results([files], mine).scored)
    with _Progress(len(mine), done) as progress:
        if arguments.workers > 1 and done < len(mine):
            run_workers(job, files, part, arguments.workers, progress)
        else:
            run_part(job, files, part, progress, sets)
    results = read_results([files], places)
    missing = len(places) - len(results.scored) - len(results.broken)
    if missing:
        console.say(f"part {part} is done, {missing} photos are left; the part that is done last writes the scores")
        console.say("parts in folders of their own are put together by evsam eval --merge")
        return 0
    document = files.told()
    settled = _settled_protocols(document, arguments.backend, files)
    cases = _cases(job.open_model, settled, sets, results, arguments.pictures)
    return _write(arguments.output, document, results, settled, cases)


def _score_of(arguments: argparse.Namespace) -> Score | None:
    if arguments.video is None:
        return None
    from evsam.evaluation.video import score_video

    return score_video


def _merge(arguments: argparse.Namespace) -> int:
    """Put parts together; nothing is scored."""
    if (arguments.model is None) != (arguments.data is None):
        arguments.fail("--merge: give the model and its data, for pictures, or neither")
    from evsam.evaluation.runner import (
        EvaluationError,
        RowFiles,
        compare_settings,
        describe_sets,
        places_of,
        read_results,
    )

    files = [RowFiles(folder) for folder in arguments.merge]
    document = files[0].told()
    for other in files[1:]:
        compare_settings(other.settings()["settings"], document["settings"], str(other.folder))
    settings, photos = document["settings"], document["settings"]["photos"]
    counts = {name: one["photos"] for name, one in photos["sets"].items()}
    places = places_of(counts, photos["every_nth"], photos["limit"])
    results = read_results(files, places)
    found = len(results.scored) + len(results.broken)
    if found < len(places):
        damaged = f"; damaged: {', '.join(results.damaged)}" if results.damaged else ""
        raise EvaluationError(
            f"--merge: expected all {len(places)} photos in {', '.join(map(str, arguments.merge))}, got {found}; score "
            f"the others first, by the commands of their parts{damaged}"
        )
    protocols = _settled_protocols(document, arguments.backend, files[0])
    cases: dict[str, list[Case]] = {}
    if arguments.model is not None and arguments.data is not None:
        _, options = _share(arguments)
        sets = replace(Data.of(arguments), empty=bool(SEARCHING & set(settings["prompts"]))).open()
        here = {
            "model": describe_model(arguments.model, options),
            "photos": describe_sets(sets, photos["every_nth"], photos["limit"]),
        }
        compare_settings({name: settings[name] for name in here}, here, str(arguments.merge[0]))
        cases = _cases(partial(open_model, arguments.model, options), protocols, sets, results, arguments.pictures)
    return _write(arguments.output, document, results, protocols, cases)


def _side_by_side(arguments: argparse.Namespace) -> int:
    """Compare finished evaluations; nothing is scored."""
    if arguments.model is not None or arguments.merge:
        arguments.fail("--side-by-side: expected no MODEL and no --merge, as it is of finished evaluations")
    if len(arguments.side_by_side) < 2:
        arguments.fail("--side-by-side: expected the folders of two evaluations at least, got one")
    from evsam.evaluation.side_by_side import compare, markdown, read_runs

    runs = read_runs(arguments.side_by_side)
    texts = {
        "comparison.json": json.dumps(compare(runs), indent=1, allow_nan=False) + "\n",
        "comparison.md": markdown(runs) + "\n",
    }
    _write_texts(arguments.output, texts)
    console.say(texts["comparison.md"])
    console.say(f"wrote {' and '.join(str(arguments.output / name) for name in texts)}")
    return 0


def _settled_protocols(
    document: Mapping[str, Any], backend: str, files: RowFiles
) -> dict[str, tuple[PhotoProtocol, ...]]:
    """By set, the protocols of an evaluation, made of what its folder says alone.

    Raises:
        EvaluationError: it does not say what this version of evsam knows.
    """
    from evsam.datasets import Category
    from evsam.evaluation.runner import EvaluationError

    made = {}
    try:
        protocols = Protocols.settled(document["settings"]["prompts"], backend)
        for name in document["settings"]["photos"]["sets"]:
            categories = [Category(*one) for one in document["given"].get("categories", {}).get(name, ())]
            made[name] = protocols.without_photos({one.id: one for one in categories})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EvaluationError(
            f"{files.folder}: expected prompts and categories as this version of evsam writes them, got others "
            f"({type(error).__name__}: {error})"
        ) from error
    return made


def _share(arguments: argparse.Namespace) -> tuple[Part, dict[str, Any]]:
    """Which part of the photos this process scores, and the options of its engine."""
    from evsam._C import usable_cpus
    from evsam.evaluation.runner import Part

    options = engine_options(arguments)
    part, neighbours = Part(*(arguments.part or (0, 1))), 1
    if not arguments.part and {"RANK", "WORLD_SIZE"} <= set(os.environ):  # torchrun
        count = _variable("WORLD_SIZE", 1, _MOST_PROCESSES)
        part = Part(_variable("RANK", 0, count - 1), count)
        neighbours = _variable("LOCAL_WORLD_SIZE", 1, count) if "LOCAL_WORLD_SIZE" in os.environ else 1
        if options["device"] == "cuda":
            options["device"] = f"cuda:{_variable('LOCAL_RANK', 0, count - 1) if 'LOCAL_RANK' in os.environ else 0}"
    processes = neighbours * arguments.workers
    if processes > 1 and options["threads"] is None:
        options["threads"] = max(1, usable_cpus() // processes)
    return part, options


def _variable(name: str, least: int, most: int) -> int:
    """A number that torchrun says by a variable of the environment.

    Raises:
        EvaluationError: it is none, or out of range.
    """
    from evsam.evaluation.runner import EvaluationError

    try:
        return whole(least, most)(os.environ[name])
    except argparse.ArgumentTypeError as error:
        raise EvaluationError(f"{name} of the environment: {error}") from error


def _settings(
    arguments: argparse.Namespace, options: Mapping[str, Any], protocols: Protocols, sets: Mapping[str, Photos]
) -> dict[str, Any]:
    """All that numbers depend on."""
    from evsam.evaluation.runner import describe_sets
    from evsam.info import installed

    return {
        "evsam": installed("evsam"),
        "model": describe_model(arguments.model, options),
        "photos": describe_sets(sets, arguments.every_nth, arguments.limit),
        "prompts": protocols.settings(),
    }


def _given(arguments: argparse.Namespace, protocols: Protocols, sets: Mapping[str, Photos]) -> dict[str, Any]:
    """What was typed, for people, and the categories that tables of detections are made with."""
    names = ("model", "data", "kind", "annotations", "detections", "compare", "protocol")
    given: dict[str, Any] = {
        name: None if (value := getattr(arguments, name)) is None else str(value) for name in names
    }
    given["video"] = arguments.video is not None
    given["half"] = arguments.half
    usual: dict[str, tuple[Any, ...]] = {"masks": (None, "three"), "sizes": (None, "authors")}
    usual |= {"stop_at": (None,), "max_dets": (None,)}
    others = [name for name, values in usual.items() if getattr(arguments, name) not in values]
    if arguments.protocol == "paper" and others:  # whose scores are not to be compared with the paper's
        given["protocol"] += ", but for " + ", ".join(f"--{name.replace('_', '-')}" for name in others)
    told = sets if "detections" in protocols.prompts else {}
    given["categories"] = {
        name: [[one.id, one.name, one.frequency] for one in source.categories.values()] for name, source in told.items()
    }
    return given


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
    open_model: Callable[[], Sam],
    protocols: Mapping[str, Sequence[PhotoProtocol]],
    sets: Mapping[str, Photos],
    results: Results,
    count: int,
) -> dict[str, list[Case]]:
    """Pictures of so many of the worst and of the median objects, by set."""
    from evsam.evaluation.cases import choose_cases, draw_cases

    chosen = {
        name: found for name, rows in results.rows.items() if (found := choose_cases(protocols[name], rows, count))
    }
    if not chosen:
        return {}
    numbers = {(place[0], key): place[1] for place, key in results.scored.items()}
    with open_model() as sam:
        return {
            name: draw_cases(sam, found, lambda key, name=name: sets[name][numbers[name, key]])  # type: ignore[misc]
            for name, found in chosen.items()
        }


def _write(
    folder: Path,
    document: Mapping[str, Any],
    results: Results,
    protocols: Mapping[str, Sequence[PhotoProtocol]],
    cases: Mapping[str, list[Case]],
) -> int:
    """Write what was found in all its forms, and say it."""
    from evsam.evaluation import charts, report

    tables = results.tables(protocols)
    scores = {
        "settings": document["settings"],
        "given": {name: value for name, value in document["given"].items() if name != "categories"},
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
    for place, section in enumerate([one for one in sections if one.reliability], 1):
        title = f"{charts.RELIABILITY}, {section.title}"
        texts[f"reliability-{place}.svg"] = charts.reliability_chart(section.reliability, title, alone=True) + "\n"
    _write_texts(folder, texts)
    console.say(texts["scores.md"])
    console.say(f"wrote {folder / 'scores.json'}, {folder / 'scores.md'} and {folder / 'report.html'}")
    if results.broken:
        console.complain(f"{len(results.broken)} of {len(results.broken) + len(results.scored)} photos were left out")
    return 1 if results.broken else 0


def _write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files to a folder, each whole or not at all."""
    from evsam.writing import replaced

    for name, text in texts.items():
        with replaced(folder / name) as temporary:
            # names of files may be no text in any encoding
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
