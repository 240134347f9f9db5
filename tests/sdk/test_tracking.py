"""Objects followed from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

import evsam
from evsam.evaluation.metrics import iou

HEIGHT, WIDTH = 240, 320


def frame_at(x: int, y: int = 90) -> np.ndarray:
    """A bright square of 60 pixels on a dark ground."""
    frame = np.full((HEIGHT, WIDTH, 3), (40, 60, 50), np.uint8)
    frame[y : y + 60, x : x + 60] = (220, 60, 40)
    return frame


def truth_at(x: int, y: int = 90) -> np.ndarray:
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[y : y + 60, x : x + 60] = True
    return truth


@pytest.fixture(scope="module")
def sam():
    with evsam.load("nano", engine="native") as sam:
        yield sam


def test_an_object_is_followed(sam) -> None:
    tracker = sam.track(frame_at(40), box=(40, 90, 100, 150))
    for x in range(46, 200, 6):
        tracks = tracker.step(frame_at(x))
    track = tracks[1]
    assert not track.lost
    assert iou(track.mask, truth_at(x)) > 0.8
    assert np.abs(track.box - (x, 90, x + 60, 150)).max() < 8


def test_objects_come_and_go(sam) -> None:
    frame = frame_at(40)
    frame[10:60, 230:290] = (60, 80, 230)
    tracker = sam.track()
    assert not tracker.step(frame)
    assert tracker.add(frame, box=(40, 90, 100, 150)) == 1
    assert tracker.add(frame, points=[(260, 35)], labels=[1]) == 2
    assert set(tracker.step(frame)) == {1, 2}
    tracker.remove(1)
    assert set(tracker.step(frame)) == {2}
    assert tracker.add(frame, box=(40, 90, 100, 150)) == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda sam, tracker: tracker.remove(7), evsam.PromptError, "id: expected one of"),
        (lambda sam, tracker: tracker.add(frame_at(40), id=7, box=(0, 0, 9, 9)), evsam.PromptError, "id: expected"),
        (lambda sam, tracker: tracker.add(frame_at(40)), evsam.PromptError, "points"),
        (lambda sam, tracker: tracker.step(frame_at(40)[:100]), evsam.ImageError, "frame: expected height and width"),
        (lambda sam, tracker: sam.track(box=(0, 0, 9, 9)), evsam.PromptError, "frame: expected the one"),
    ],
)
def test_what_cannot_be_meant_is_refused(sam, call, error, message) -> None:
    tracker = sam.track(frame_at(40), box=(40, 90, 100, 150))
    with pytest.raises(error, match=message):
        call(sam, tracker)
