"""Objects that are followed through videos: J, F and what trackers say of losses, on made videos with known answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from evsam.cli import main
from evsam.datasets import BrokenSample, DataError, open_photos
from evsam.datasets.masks import MaskPhotos
from evsam.evaluation.video import Following, LastBox, LastLogits, StandsStill, Videos, score_video

SIZE = (100, 160)
"""Of made frames: F's tolerance is .008 of 188.7 pixels, rounded up to 2."""


def square(left: int, top: int, side: int = 40) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def write(folder: Path, name: str, masks: list[np.ndarray]) -> None:
    """A video in DAVIS's layout, with a palette; the objects are brighter than the rest."""
    for part in ("JPEGImages", "Annotations"):
        (folder / part / "480p" / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        frame = np.repeat(np.where(mask > 0, 220, 40).astype(np.uint8)[..., None], 3, 2)
        Image.fromarray(frame).save(folder / "JPEGImages" / "480p" / name / f"{number:05}.jpg")
        picture = Image.fromarray(mask)
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        picture.save(folder / "Annotations" / "480p" / name / f"{number:05}.png")


def videos(folder: Path) -> Videos:
    (found,) = open_photos(folder, kind="masks").values()
    assert isinstance(found, MaskPhotos)
    return Videos(found)


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """A square of 40 pixels that moves 1, then 10, then 60 pixels from where it was first; the last frame is empty."""
    write(tmp_path, "square", [square(left, 20) for left in (20, 21, 30, 80)] + [square(0, 0, 0)])
    return tmp_path


class Model:
    """Encodes a frame as itself; everything else is what a test gives it."""

    def __init__(self, **methods: Any) -> None:
        self.__dict__ |= methods

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return pixels


def test_j_and_f_of_shifted_squares(moving: Path) -> None:
    """What stands still has, after d pixels, J = (40 - d) / (40 + d), and F as counted below by hand."""
    (row,) = score_video(cast(Any, Model()), videos(moving)[0], [Following("still")])["still"]
    assert row["iou"] == pytest.approx([39 / 41, 30 / 50, 0])
    # An outline is the border of 41 x 41 pixels, 160 of them, and two pixels are near. One pixel aside, all are near.
    # Ten pixels aside, of the lines above and below 33 pixels each are; of the side that lies within the other square
    # two at either end, which are near the other's lines above and below; of the other side none.
    assert row["f"][0] == 1
    assert row["f"][2] == 0
    assert row["f"][1] == pytest.approx(70 / 160)
    assert row["lost"] == [False, False, False]
    assert row["frames"] == 5
    tables = Following("still").summary([row])
    told = tables["frames"]["mean of objects"]
    j = (39 / 41 + 30 / 50 + 0) / 3
    f = (1 + 70 / 160) / 3
    assert told["J mean"] == pytest.approx(j)
    assert told["J&F"] == pytest.approx((j + f) / 2)
    assert told["J recall"] == pytest.approx(2 / 3)
    assert tables["lost"]["frames"] == {"told": 0, "said falsely": 0, "failures": 1, "on the object": 2}
    assert tables["sequences"]["square"]["J&F"] == told["J&F"]


@dataclass
class Scripted:
    """A tracker that answers what it is told to."""

    answers: list[dict[int, Any]]
    given: list[np.ndarray]

    def add(self, frame: Any, *, mask: np.ndarray) -> int:
        self.given.append(mask)
        return len(self.given)

    def step(self, frame: Any) -> dict[int, Any]:
        return self.answers.pop(0)


def answer(mask: np.ndarray, score: float = 1.0, *, lost: bool = False, guess: np.ndarray | None = None) -> Any:
    return SimpleNamespace(mask=mask > 0, score=score, lost=lost, guess=None if guess is None else guess > 0)


def test_losses_are_judged_by_what_would_have_been_answered(moving: Path) -> None:
    nothing = square(0, 0, 0)
    tracker = Scripted(
        [
            {1: answer(nothing, lost=True, guess=square(21, 20))},  # it was there: said falsely
            {1: answer(square(30, 20))},
            {1: answer(nothing, lost=True, guess=square(0, 0, 9))},  # a failure that was told
            {1: answer(nothing)},  # the last frame does not count
        ],
        [],
    )
    model = Model(track=lambda: tracker)
    (row,) = score_video(cast(Any, model), videos(moving)[0], [Following("track")])["track"]
    assert row["iou"] == [0, 1, 0]
    assert row["guess"] == [1, 1, 0]
    assert Following("track").summary([row])["lost"]["frames"] == {
        "told": 1, "said falsely": 0.5, "failures": 1, "on the object": 2,
    }  # fmt: skip
    assert not tracker.answers, "also the last frame is asked about"


def test_of_two_objects_a_pixel_belongs_to_one(tmp_path: Path) -> None:
    both = square(20, 20) + 2 * square(80, 20)
    write(tmp_path, "two", [both, both, 2 * square(80, 20), both])
    wide = square(20, 20) + square(60, 20) + square(80, 20) > 0
    tracker = Scripted([{1: answer(square(20, 20), 0.9), 2: answer(wide, 0.5)}] * 3, [])
    rows = score_video(cast(Any, Model(track=lambda: tracker)), videos(tmp_path)[0], [Following()])["track"]
    assert [mask.sum() for mask in tracker.given] == [1600, 1600]
    assert [row["id"] for row in rows] == [1, 2]
    assert rows[0]["iou"] == [1, 0], "in the second of the frames that count it is not there"
    # 80 to 120 of 60 to 120 is the object, and 20 to 60 is the first one's
    assert rows[1]["iou"] == pytest.approx([1600 / 2400] * 2)


def test_the_last_box_goes_on_from_the_answer(moving: Path) -> None:
    boxes = []

    def predict(frame: Any, *, box: Any, multimask: bool) -> Any:
        boxes.append(box)
        mask = square(50, 30, 20) if len(boxes) == 1 else square(0, 0, 0)
        return SimpleNamespace(masks=mask[None, None] > 0, scores=np.array([[0.7]]))

    tracker = LastBox(cast(Any, Model(predict=predict)))
    number = tracker.add(cast(Any, None), mask=square(20, 20) > 0)
    results = [tracker.step(cast(Any, None))[number] for _ in range(3)]
    assert boxes == [(20, 20, 60, 60), (50, 30, 70, 50), (50, 30, 70, 50)], "an empty mask has no box"
    assert [result.score for result in results] == [0.7] * 3
    assert results[1].mask.sum() == 0


def test_the_last_logits_are_the_prompt() -> None:
    prompts = []

    def predict(frame: Any, *, mask: Any, multimask: bool) -> Any:
        prompts.append(mask)
        logits = np.full((1, 1, 256, 256), 3.0 if len(prompts) == 1 else -1.0, np.float32)
        return SimpleNamespace(masks=np.ones((1, 1, *SIZE), bool), scores=np.array([[0.7]]), logits=logits)

    tracker = LastLogits(cast(Any, Model(predict=predict)))
    tracker.add(cast(Any, None), mask=square(20, 20) > 0)
    for _ in range(3):
        tracker.step(cast(Any, None))
    assert prompts[0].shape == SIZE
    assert [float(prompt.max()) for prompt in prompts[1:]] == [3, 3], "logits without an object are no prompt"


def test_what_stands_still_has_its_first_mask() -> None:
    tracker = StandsStill(cast(Any, None))
    mask = square(20, 20) > 0
    number = tracker.add(cast(Any, None), mask=mask)
    assert all(np.array_equal(tracker.step(cast(Any, None))[number].mask, mask) for _ in range(2))


def test_videos_that_cannot_be_scored(tmp_path: Path) -> None:
    write(tmp_path, "short", [square(20, 20)] * 2)
    with pytest.raises(DataError, match="at least three frames"):
        videos(tmp_path)
    write(tmp_path, "late", [square(0, 0, 0), square(20, 20), square(20, 20)])
    with pytest.raises(BrokenSample, match="late: expected an object in the first frame"):
        score_video(cast(Any, Model()), videos(tmp_path)[0], [Following("still")])


def test_the_command_scores_videos_and_goes_on(
    moving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    write(moving, "another", [square(20, 20)] * 4)
    command = ["eval", "nano", "--video", str(moving), "-o", str(out), "--threads", "1"]
    assert main([*command, "--trackers", "last-box", "still"]) == 0
    said = capsys.readouterr().out
    assert f"### {moving.name}: 2 videos" in said
    found = json.loads((out / "scores.json").read_text())["tables"][moving.name]
    assert set(found) == {"last-box", "still"}
    assert found["still"]["sequences"]["another"]["J&F"] == 1
    for name in found:
        frames = found[name]["frames"]["mean of objects"]
        assert frames["objects"] == 2
        assert f"| {name}: mean of objects | {frames['J&F']:.3f} |" in said, "one table holds all trackers"
    (rows,) = out.glob("rows-*.jsonl")
    before = rows.read_bytes()
    assert main([*command, "--trackers", "last-box", "still"]) == 0
    assert rows.read_bytes() == before, "what was scored is not scored again"
    assert "2 videos" in (out / "report.html").read_text()


def test_the_command_scores_windows(moving: Path, tmp_path: Path) -> None:
    command = ["eval", "nano", "--video", str(moving), "-o", str(tmp_path / "out"), "--threads", "1", "--window", "4"]
    assert main([*command, "--trackers", "track"]) == 0
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]
    assert settings["prompts"] == {"track": {"window": 4.0}}
    assert main([*command, "--trackers", "track"]) == 0, "and again, from what is written"


def test_a_tracker_with_a_window_sees_the_frames(moving: Path) -> None:
    """And others the embeddings, in the same evaluation."""
    seen: dict[object, list[str]] = {None: [], 4: []}

    class Seeing(Scripted):
        window: object = None

        def add(self, frame: Any, *, mask: np.ndarray) -> int:
            return super().add(self.step(frame), mask=mask)

        def step(self, frame: Any) -> dict[int, Any]:
            seen[self.window].append(frame if isinstance(frame, str) else type(frame).__name__)
            return {1: answer(square(20, 20))}

    def track(window: object = None) -> Seeing:
        tracker = Seeing([], [])
        tracker.window = window
        return tracker

    model = Model(track=track)
    model.encode = lambda pixels: "embedding"
    score_video(cast(Any, model), videos(moving)[0], [Following(), Following("through", window=4)])
    assert seen == {None: ["embedding"] * 5, 4: ["ndarray"] * 5}


def test_labels_need_no_palette(tmp_path: Path) -> None:
    """Grey label maps of several objects, which among photos can mean several things."""
    both = square(10, 10) + 2 * square(70, 10)
    write(tmp_path, "grey", [both] * 3)
    for path in (tmp_path / "Annotations" / "480p" / "grey").iterdir():
        Image.fromarray(np.asarray(Image.open(path))).save(path)
    out = tmp_path / "out"
    command = ["eval", "nano", "--video", str(tmp_path), "-o", str(out), "--threads", "1", "--trackers", "still"]
    assert main(command) == 0
    (tables,) = json.loads((out / "scores.json").read_text())["tables"].values()
    assert tables["still"]["frames"]["mean of objects"]["objects"] == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nano", "data", "--video", "folder"], "expected no DATA"),
        (["nano", "data", "--trackers", "still"], "--trackers is of --video"),
        (["nano", "data", "--window", "4"], "--window is of --video"),
        (["nano", "--video", "folder", "--trackers", "still", "--window", "4"], "--window is of --trackers track"),
        (["nano", "--video", "folder", "--kind", "coco"], "--kind masks"),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["eval", *arguments, "-o", str(tmp_path / "out")])
    assert reason in capsys.readouterr().err
