"""Objects followed from frame to frame."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest

import evsam
from evsam.evaluation.metrics import iou
from evsam.overlay import mask_colour

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


def large_at(x: int, y: int = 300) -> np.ndarray:
    """A square of 30 pixels in a frame of 800 x 600; two cells of nano's embedding of all of it."""
    frame = np.empty((600, 800, 3), np.uint8)
    frame[...] = (40, 60, 50)
    frame[..., 0] += np.arange(800, dtype=np.uint8)[None] // 16
    frame[y : y + 30, x : x + 30] = (220, 60, 40)
    return frame


def encoded_sizes(sam, monkeypatch) -> list[tuple[int, ...]]:
    """A list that gets the height and width of whatever is encoded."""
    sizes: list[tuple[int, ...]] = []
    encode = type(sam).encode
    monkeypatch.setattr(
        type(sam),
        "encode",
        lambda self, image, **options: sizes.append(image.shape[:2]) or encode(self, image, **options),
    )
    return sizes


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


@pytest.mark.parametrize("window", [None, 4])
def test_every_engine_follows(sam, window) -> None:
    """What answers prompts for the native engine and for others is not the same code."""
    pytest.importorskip("torch")
    with evsam.load("nano", engine="torch", threads=1) as other:
        trackers = [model.track(large_at(400), box=(400, 300, 430, 330), window=window) for model in (sam, other)]
        for x in (406, 412, 418):
            first, second = (tracker.step(large_at(x))[1] for tracker in trackers)
            assert iou(first.mask, second.mask) > 0.99
            assert first.score == pytest.approx(second.score, abs=1e-3)


def test_more_objects_than_are_decoded_at_once(sam) -> None:
    tracker = sam.track()
    embedding = sam.encode(frame_at(40))
    for _ in range(19):
        tracker.add(embedding, box=(40, 90, 100, 150))
    tracks = tracker.step(embedding)
    assert list(tracks) == list(range(1, 20)) == list(tracker.ids)
    assert all(np.array_equal(track.mask, tracks[1].mask) for track in tracks.values())
    assert tracks.label_map().max() == 19


def test_an_object_that_left_is_lost_and_found_again(sam) -> None:
    tracker = sam.track(frame_at(100), box=(100, 90, 160, 150))
    for x in (106, 112):
        assert not tracker.step(frame_at(x))[1].lost
    empty = frame_at(100)
    empty[...] = empty[0, 0]
    for _ in range(8):
        track = tracker.step(empty)[1]
        assert track.lost
        assert np.abs(track.box - (112, 90, 172, 150)).max() < 8, "where it was last seen"
    for _ in range(4):
        track = tracker.step(frame_at(200, 20))[1]
    assert not track.lost
    assert iou(track.mask, truth_at(200, 20)) > 0.8
    tracker.add(frame_at(40), box=(40, 90, 100, 150), id=1)
    assert iou(tracker.step(frame_at(42))[1].mask, truth_at(42)) > 0.8, "shown again"


def test_through_a_window_a_small_object_is_seen_better(sam, monkeypatch) -> None:
    sizes = encoded_sizes(sam, monkeypatch)
    overlaps = []
    for window in (None, 4):
        tracker = sam.track(large_at(400), box=(400, 300, 430, 330), window=window)
        assert tracker.window == window
        for x in range(406, 440, 6):
            track = tracker.step(large_at(x))[1]
            assert track.mask.shape == (600, 800)
            assert not track.lost
            truth = large_at(x)[..., 0] == 220
            overlaps.append(iou(track.mask, truth))
            assert np.abs(track.box - (x, 300, x + 30, 330)).max() < 6
    assert sizes == [(600, 800)] * 8 + [(256, 256)] * 7, "shown in all of a frame, and learnt from its part"
    half = len(overlaps) // 2
    assert np.mean(overlaps[half:]) > max(0.85, np.mean(overlaps[:half]))


def test_without_a_sight_of_the_object_all_of_a_frame_is_looked_at(sam, monkeypatch) -> None:
    tracker = sam.track(large_at(400), box=(400, 300, 430, 330), window=4)
    tracker = evsam.Tracker.restore(sam, tracker.state())
    sizes = encoded_sizes(sam, monkeypatch)
    empty = large_at(800)
    for frame in (large_at(406), empty, empty, large_at(480, 330), large_at(486, 330)):
        track = tracker.step(frame)[1]
    assert sizes == [(256, 256)] * 2 + [(600, 800)] * 2 + [(256, 256)]
    assert not track.lost
    assert np.abs(track.box - (486, 330, 516, 360)).max() < 6

    sizes.clear()
    tracker.add(large_at(700, 20), box=(700, 20, 730, 50))
    tracker.step(large_at(700, 20))
    assert sizes == [(600, 800), (256, 256), (600, 800)], "around both it would be nearly all of the frame"
    tracker.remove(1)
    tracker.step(large_at(706, 20))
    assert sizes[-1] == (256, 256)
    embedding = sam.encode(large_at(712, 20))
    sizes.clear()
    track = tracker.step(embedding)[2]
    assert not sizes, "an embedding is of all of the frame"
    assert track.mask.shape == (600, 800)


@pytest.mark.parametrize("window", [0, 0.5, 101, -1, float("nan"), True, "4"])
def test_windows_that_are_none_are_refused(sam, window) -> None:
    with pytest.raises(evsam.EvsamError, match="window: expected None or a number from 1 to 100, got"):
        sam.track(window=window)


def test_a_mask_is_taken_as_it_is(sam) -> None:
    shown = truth_at(40)
    shown[90:100, 40:100] = False
    tracker = sam.track(frame_at(40), mask=shown)
    logits = tracker._core.logits([1])
    mask = sam.masks_from_logits(logits, (768, 1024), (HEIGHT, WIDTH))[0, 0]
    assert iou(mask, shown) > 0.95
    assert iou(tracker.step(frame_at(42))[1].mask, truth_at(42)) > 0.6


def test_frames_in_bgr_and_embeddings_are_the_same_frames(sam) -> None:
    first = sam.track(frame_at(40), box=(40, 90, 100, 150))
    second = sam.track(frame_at(40)[..., ::-1], box=(40, 90, 100, 150), bgr=True)
    third = evsam.Tracker.restore(sam, first.state())
    expected = first.step(frame_at(46))[1]
    for track in (second.step(frame_at(46)[..., ::-1])[1], third.step(sam.encode(frame_at(46)))[1]):
        assert np.array_equal(track.mask, expected.mask)
        assert track.score == expected.score


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state[:-1], "state: expected"),
        (lambda state: state.replace(b'"size": [240', b'"size": [241'), "state: expected"),
        (lambda state: state.replace(b'"size": [240', b'"size": [-40'), "damaged"),
        (lambda state: state.replace(b'"nano"', b'"l0"'), "got one of l0"),
        (lambda state: state.replace(b'"bgr": false', b'"bgr": 7'), "damaged"),
        (lambda state: state.replace(b'"window": null', b'"window": 0.5'), "damaged"),
        (lambda state: state.split(b"\n")[0] + b"\n[]\n", "damaged"),
        (lambda state: state.decode("latin-1"), "bytes"),
        (lambda state: b"", "other bytes"),
    ],
)
def test_states_that_are_damaged_or_of_others_are_refused(sam, damage, message) -> None:
    state = sam.track(frame_at(40), box=(40, 90, 100, 150)).state()
    with pytest.raises(evsam.EvsamError, match=message):
        evsam.Tracker.restore(sam, damage(state))


def test_what_is_refused_leaves_no_trace(sam) -> None:
    tracker = sam.track()
    with pytest.raises(evsam.PromptError, match="empty mask"):
        tracker.add(frame_at(40)[:50, :50], mask=np.full((256, 256), -3, np.float32))
    assert tracker.add(frame_at(40), box=(40, 90, 100, 150)) == 1
    for wrong in (1.0, True, np.array([1, 2]), "1", 2):
        with pytest.raises(evsam.PromptError, match="id: expected one of"):
            tracker.add(frame_at(40), box=(40, 90, 100, 150), id=wrong)
        with pytest.raises(evsam.PromptError, match="id: expected one of"):
            tracker.remove(wrong)
    with pytest.raises(evsam.ImageError, match="frame: expected one image"):
        tracker.step([frame_at(40), frame_at(46)])
    assert tracker.ids == (1,)


def test_a_threshold_that_is_none_is_refused(sam, monkeypatch) -> None:
    monkeypatch.setattr(sam, "mask_threshold", float("nan"))
    tracker = sam.track()
    with pytest.raises(evsam.EvsamError, match="mask_threshold"):
        tracker.add(frame_at(40), box=(40, 90, 100, 150))
    monkeypatch.setattr(sam, "mask_threshold", 0.0)
    assert tracker.add(frame_at(40), box=(40, 90, 100, 150)) == 1


def test_guesses_are_not_among_the_masks_of_a_frame(sam) -> None:
    lost = evsam.Track(1, truth_at(40), np.zeros(4, np.float32), 0.5, lost=True)
    tracks = evsam.Tracks({1: lost}, (HEIGHT, WIDTH))
    assert not tracks.label_map().any()
    assert (
        tracks.to_coco_rle()[0]
        == evsam.Tracks({1: replace(lost, mask=np.zeros_like(lost.mask))}, tracks.size).to_coco_rle()[0]
    )


def test_threads_take_turns(sam) -> None:
    pytest.importorskip("torch")
    with evsam.load("nano", engine="torch", threads=1) as other:
        embedding = other.encode(frame_at(40))
        tracker = other.track(embedding, box=(40, 90, 100, 150))
        steps = [threading.Thread(target=lambda: [tracker.step(embedding) for _ in range(3)]) for _ in range(2)]
        for thread in steps:
            thread.start()
        for _ in range(5):
            tracker.remove(tracker.add(embedding, box=(40, 90, 100, 150)))
        for thread in steps:
            thread.join()
        assert tracker.ids == (1,)


def test_a_state_can_be_sent_and_a_tracker_says_so(sam) -> None:
    tracker = sam.track()
    with pytest.raises(evsam.EvsamError, match=r"send state\(\)"):
        pickle.dumps(tracker)
    assert evsam.Tracker.restore(sam, pickle.loads(pickle.dumps(tracker.state()))).ids == ()


def test_a_saved_tracker_goes_on(sam, tmp_path) -> None:
    tracker = sam.track(frame_at(40), box=(40, 90, 100, 150))
    tracker.step(frame_at(46))
    tracker.save(tmp_path / "tracker.evsam")
    again = evsam.Tracker.load(tmp_path / "tracker.evsam", sam)
    for x in (52, 58):
        first, second = tracker.step(frame_at(x)), again.step(frame_at(x))
        assert np.array_equal(first[1].mask, second[1].mask)
        assert (first[1].box == second[1].box).all()
    assert again.add(frame_at(58), box=(58, 90, 118, 150)) == 2
    (tmp_path / "tracker.evsam").write_bytes(b"{}")
    with pytest.raises(evsam.EvsamError, match="state"):
        evsam.Tracker.load(tmp_path / "tracker.evsam", sam)


def test_objects_keep_their_colours_and_lost_ones_are_framed() -> None:
    frame = frame_at(40)
    masks = [truth_at(40), np.zeros((HEIGHT, WIDTH), bool)]
    boxes = [np.array([40, 90, 100, 150], np.float32), np.array([200, 90, 260, 150], np.float32)]
    found = {n: evsam.Track(n, m, b, 0.9, n == 3) for n, m, b in zip((2, 3), masks, boxes, strict=True)}
    picture = np.asarray(evsam.tracking.Tracks(found, (HEIGHT, WIDTH)).overlay(frame, opacity=1.0))
    assert (picture[110:130, 60:80] == mask_colour(1)).all()
    assert (picture[91, 200:260] == mask_colour(2)).all(-1).any()
    assert (picture[100:140, 210:250] == frame[100:140, 210:250]).all()
