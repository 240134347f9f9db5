"""`evsam track`: frames in, a video, label maps and a document of tracks out; and runs that are stopped."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evsam
from evsam import Tracker, cli
from evsam.cli import track
from evsam.evaluation.metrics import iou
from evsam.formats import tracks_document
from evsam.rle import decode_rle, encode_rle
from evsam.video import VideoWriter, open_source, upright
from evsam.writing import claimed_folder

av: Any = pytest.importorskip("av")

FRAMES, HEIGHT, WIDTH = 12, 120, 160
RED, GROUND = (220, 60, 40), (40, 70, 50)

Run = Callable[..., tuple[str, str]]


def square(index: int) -> tuple[int, int, int, int]:
    """Where the object is in a frame: x0, y0, x1, y1."""
    return 20 + 5 * index, 40, 60 + 5 * index, 80


def picture(index: int) -> np.ndarray:
    frame = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    x0, y0, x1, y1 = square(index)
    frame[y0:y1, x0:x1] = RED
    return frame


def truth(index: int) -> np.ndarray:
    return picture(index)[..., 0] > 128


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "square.mp4"
    writer = VideoWriter(path, "mp4", (HEIGHT, WIDTH), Fraction(10))
    for index in range(FRAMES):
        writer.write(picture(index), index / 10)
    writer.close()
    return path


@pytest.fixture
def frames(tmp_path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(FRAMES):
        Image.fromarray(picture(index)).save(folder / f"f{index}.png")
    return folder


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        assert cli.main([str(word) for word in ("track", *arguments, "--threads", 1)]) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return call


BOX = ("--box", *square(0))


def found(masks: list[np.ndarray]) -> evsam.Segments:
    height, width = masks[0].shape
    whole = (0, 0, width, height)
    return evsam.Segments(
        [evsam.Segment(encode_rle(m), whole, int(m.sum()), 0.9, 0.9, (0.0, 0.0), whole) for m in masks],
        (height, width),
    )


def decoded(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in open_source(str(path))]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def usage_error(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(word) for word in ("track", *arguments)])
    assert caught.value.code == 2
    return capsys.readouterr().err


class TestVideos:
    def test_what_is_written_is_read_again(self, video) -> None:
        source = open_source(str(video))
        assert source.rate == 10
        assert source.total == FRAMES
        found = list(source)
        source.close()
        assert [frame.index for frame in found] == list(range(FRAMES))
        assert [frame.time for frame in found] == pytest.approx([index / 10 for index in range(FRAMES)])
        for frame in found:
            inside, outside = truth(frame.index), ~truth(frame.index)
            assert np.abs(np.median(frame.image[inside], 0) - RED).max() < 5, "colours are those that were written"
            assert np.abs(np.median(frame.image[outside], 0) - GROUND).max() < 5

    @pytest.mark.parametrize("container", ["mov", "matroska"])
    def test_odd_sizes_and_other_containers(self, tmp_path, container) -> None:
        writer = VideoWriter(tmp_path / "x", container, (33, 47), Fraction(25))
        writer.write(np.full((33, 47, 3), 200, np.uint8), 0.0)
        writer.write(np.full((33, 47, 3), 200, np.uint8), 0.0)
        writer.close()
        found = decoded(tmp_path / "x")
        assert [image.shape for image in found] == [(34, 48, 3)] * 2
        assert np.abs(found[0].astype(int) - 200).max() < 4

    def test_a_turned_video_is_upright(self) -> None:
        image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        assert np.array_equal(upright(image, -90), np.rot90(image, -1))
        assert np.array_equal(upright(image, 180), image[::-1, ::-1])
        assert upright(image, 0).shape == (2, 4, 3)

    def test_a_file_that_says_so_is_turned(self, tmp_path) -> None:
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=10, width=160, height=120, pix_fmt="yuv420p")
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write it")
            stream.set_display_rotation(-90)  # clockwise, as phones that are held upright have it
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
            container.mux(stream.encode(None))
        (image,) = decoded(tmp_path / "a.mp4")
        assert image.shape == (WIDTH, HEIGHT, 3)
        assert iou(image[..., 0] > 128, np.rot90(truth(0), -1)) > 0.9

    def test_frames_of_a_folder_are_in_the_order_of_their_numbers(self, frames) -> None:
        assert [frame.name for frame in open_source(str(frames))] == [f"f{index}.png" for index in range(FRAMES)]

    def test_without_av(self, video, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(evsam.BackendUnavailable, match=re.escape("need av; use pip install 'evsam[video]'")):
            open_source(str(video))

    def test_what_is_no_source(self, tmp_path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"nothing")
        (tmp_path / "empty").mkdir()
        for name, message in [
            ("a.mp4", "expected a video that can be read"),
            ("empty", "which has none"),
            ("no.mp4", "which does not exist"),
        ]:
            with pytest.raises(evsam.ImageError, match=message):
                open_source(str(tmp_path / name))

    def test_a_video_of_sound(self, tmp_path) -> None:
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=8000, layout="mono")
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
        with pytest.raises(evsam.ImageError, match="which has none"):
            open_source(str(tmp_path / "a.mp4"))


class TestTrack:
    def test_a_video(self, run, video, tmp_path) -> None:
        out, err = run(video, *BOX, "-o", "out.mp4", "--json", "tracks.json")
        assert out.splitlines() == [
            "12 frames of 160 x 120 pixels, 1 object", "object 1: in 12 frames", "wrote out.mp4", "wrote tracks.json"
        ]  # fmt: skip
        assert err == ""
        document = json.loads(Path("tracks.json").read_text())
        (annotation,) = document["annotations"]
        for index, (rle, box) in enumerate(zip(annotation["segmentations"], annotation["bboxes"], strict=True)):
            assert iou(decode_rle(rle), truth(index)) > 0.85
            x0, y0, x1, y1 = square(index)
            assert np.abs(np.array(box) - (x0, y0, x1 - x0, y1 - y0)).max() < 6
        drawn = decoded(Path("out.mp4"))
        assert len(drawn) == FRAMES
        for index, image in enumerate(drawn):
            x0, y0, x1, y1 = square(index)
            middle, far = image[(y0 + y1) // 2, (x0 + x1) // 2].astype(int), image[100, 10].astype(int)
            assert np.abs(middle - RED).max() > 40, "the mask's colour"
            assert np.abs(far - GROUND).max() < 20
        assert names(tmp_path) == ["out.mp4", "tracks.json"], "nothing else is left"

    def test_label_maps_of_a_folder(self, run, frames, tmp_path) -> None:
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[truth(0)] = 7
        Image.fromarray(labels).save("first.png")
        run(frames, "--masks", "first.png", "--points", 10, 10, "-o", "maps")
        assert names(tmp_path / "maps") == sorted(f"f{index}.png" for index in range(FRAMES))
        for index in range(0, FRAMES, 4):
            found = np.asarray(Image.open(f"maps/f{index}.png"))
            assert iou(found == 7, truth(index)) > 0.8, "objects of --masks keep their numbers"
            assert set(np.unique(found)) <= {0, 1, 7}, "and the point has the first that is free"
        shown = (frames, "--masks", "first.png", "--points", 10, 10)
        assert run(*shown, "-o", "maps", "--resume") == ("", f"{frames} is done\n")
        assert "expected maps/f0.png to be of a run with" in run(frames, *BOX, "-o", "maps", "--resume", code=1)[1]
        (tmp_path / "maps" / "f3.png").unlink()
        assert "wrote maps" in run(frames, *BOX, "-o", "maps", "--resume")[0]

    def test_a_window(self, run, tmp_path, monkeypatch) -> None:
        """Also where objects are found, for which all of a frame is encoded."""
        frames = []
        (tmp_path / "large").mkdir()
        for index in range(4):
            frame = np.full((480, 640, 3), GROUND, np.uint8)
            frame[200:230, 300 + 4 * index : 330 + 4 * index] = RED
            Image.fromarray(frame).save(tmp_path / "large" / f"{index}.png")
            frames.append(frame[..., 0] > 128)
        sizes: list[tuple[int, ...]] = []
        encode = evsam.Sam.encode
        monkeypatch.setattr(evsam.Sam, "encode", lambda sam, image: sizes.append(image.shape[:2]) or encode(sam, image))
        shown = ("large", "--box", 300, 200, 330, 230, "--window", 4)
        run(*shown, "--json", "tracks.json")
        assert sizes == [(480, 640)] + [(256, 256)] * 5
        (track,) = json.loads(Path("tracks.json").read_text())["annotations"]
        assert all(iou(decode_rle(rle), there) > 0.8 for rle, there in zip(track["segmentations"], frames, strict=True))
        monkeypatch.setattr(evsam.Sam, "segment_everything", lambda sam, image: found([~frames[0]]))
        run(*shown, "--everything-every", 3, "--max-objects", 2, "--json", "more.json")
        assert len(json.loads(Path("more.json").read_text())["annotations"]) == 2

    def test_numbers_of_masks_are_kept(self, run, frames, monkeypatch) -> None:
        """Also in the document; those that are shown otherwise or found have what is free."""
        labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        labels[truth(0)], labels[90:110, 100:150] = 300, 2
        Image.fromarray(labels).save("first.png")
        monkeypatch.setattr(evsam.Sam, "segment_everything", lambda sam, image: found([~truth(0)]))
        shown = ("--masks", "first.png", "--box", 0, 0, 30, 30)
        run(frames, *shown, "--everything-every", 1, "--limit", 1, "-o", "maps", "--json", "t.json")
        document = json.loads(Path("t.json").read_text())
        masks = {annotation["id"]: annotation["segmentations"][0] for annotation in document["annotations"]}
        assert sorted(masks) == [1, 2, 3, 300]
        assert decode_rle(masks[3]).sum() == (~truth(0)).sum()
        assert iou(decode_rle(masks[300]), truth(0)) > 0.8
        assert iou(np.asarray(Image.open("maps/f0.png")) == 300, truth(0)) > 0.8

    def test_a_name_if_none_is_given(self, run, frames, video, tmp_path) -> None:
        assert "wrote frames_tracks.mp4" in run("frames", *BOX, "--limit", 2)[0]
        assert len(decoded(Path("frames_tracks.mp4"))) == 2

    def test_standard_output(self, run, video) -> None:
        out, err = run(video, *BOX, "--json", "-", "--limit", 2)
        assert json.loads(out)["videos"][0]["length"] == 2
        assert err.startswith("2 frames of 160 x 120")

    def test_everything_adds_what_no_object_covers(self, run, frames, monkeypatch) -> None:
        asked: list[int] = []
        ground = ~truth(0)
        small = np.zeros_like(ground)
        small[:5, :5] = True

        def segment_everything(sam: Any, image: Any) -> Any:
            asked.append(len(asked))
            return found([truth(0), ground, small])

        monkeypatch.setattr(evsam.Sam, "segment_everything", segment_everything)
        out, _ = run(frames, *BOX, "--everything-every", 3, "--limit", 5, "--min-area", 30, "--json", "t.json")
        assert asked == [0, 1]
        document = json.loads(Path("t.json").read_text())
        assert [annotation["id"] for annotation in document["annotations"]] == [1, 2]
        assert decode_rle(document["annotations"][1]["segmentations"][0]).sum() == ground.sum()
        assert "2 objects" in out

    def test_a_lost_object_is_marked(self, run, frames, monkeypatch) -> None:
        for index in range(1, FRAMES):
            Image.fromarray(np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)).save(frames / f"f{index}.png")
        step = Tracker.step

        def lost(tracker: Tracker, frame: Any) -> Any:
            tracks = step(tracker, frame)
            there = tracks[1]
            if not isinstance(frame, np.ndarray):
                return tracks
            empty = np.zeros_like(there.mask)
            return evsam.Tracks({1: evsam.Track(1, empty, np.array(square(0), np.float32), 0.1, True)}, tracks.size)

        monkeypatch.setattr(Tracker, "step", lost)
        out, _ = run(frames, *BOX, "-o", "out.mp4", "--json", "t.json", "--limit", 3)
        assert "object 1: in 1 frames, lost in 2" in out
        (annotation,) = json.loads(Path("t.json").read_text())["annotations"]
        assert annotation["lost"] == [False, True, True]
        assert annotation["segmentations"][1:] == annotation["bboxes"][1:] == annotation["areas"][1:] == [None, None]
        image = decoded(Path("out.mp4"))[2].astype(int)
        x0, y0, x1, y1 = square(0)
        assert np.abs(image[y0:y1, x0] - GROUND).max() > 60, "dashes where it was"
        assert np.abs(image[(y0 + y1) // 2, (x0 + x1) // 2] - GROUND).max() < 20, "and nothing inside"

    def test_a_camera(self, run, monkeypatch) -> None:
        class Capture:
            def __init__(self, number: int) -> None:
                assert number == 3
                self.left = iter(range(FRAMES))

            def isOpened(self) -> bool:
                return True

            def get(self, what: int) -> float:
                return 30.0

            def read(self) -> tuple[bool, Any]:
                index = next(self.left, None)
                return (False, None) if index is None else (True, picture(0)[..., ::-1])

            def release(self) -> None:
                released.append(1)

        released: list[int] = []
        monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(VideoCapture=Capture, CAP_PROP_FPS=5))
        out, _ = run(3, "--box", *square(0), "--json", "t.json", "-o", "c.mkv")
        assert "wrote c.mkv" in out
        document = json.loads(Path("t.json").read_text())
        assert 1 <= document["videos"][0]["length"] <= FRAMES
        assert released == [1]
        monkeypatch.setitem(sys.modules, "cv2", None)
        _, err = run(3, *BOX, code=1)
        assert err == "evsam: source: cameras need OpenCV; use pip install opencv-python\n"

    def test_progress_bar_only_on_a_terminal(self, run, video, monkeypatch) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        _, err = run(video, *BOX, "--json", "t.json", "--limit", 3)
        assert re.search(r"\r\x1b\[K\[#{8}-{16}\] 1/3, \d+:\d\d left  square.mp4", err)

    def test_errors(self, run, capsys, video, frames) -> None:
        assert "give at least one --box" in usage_error(capsys, video)
        assert "--points: expected pairs X Y, got 3" in usage_error(capsys, video, "--points", 1, 2, 3)
        assert "-o: expected a video that ends in" in usage_error(capsys, video, *BOX, "-o", "a.gif")
        assert "another file than the source" in usage_error(capsys, video, *BOX, "-o", video)
        assert "does not exist" in run("no.mp4", *BOX, code=1)[1]
        Image.fromarray(picture(0)).save("colours.png")
        assert "--masks: expected an image" in run(video, "--masks", "colours.png", code=1)[1]
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save("black.png")
        assert "which has none" in run(video, "--masks", "black.png", code=1)[1]
        Image.fromarray(picture(0)[:60]).save(frames / "f1.png")
        _, err = run(frames, *BOX, "-o", "x.mp4", code=1)
        assert "expected frames of 160 x 120 pixels as the first has, got f1.png of 160 x 60" in err
        assert not Path("x.mp4").exists()


class TestNames:
    """Nothing is written over what is read, or over what else is written."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("frames", "-o", "frames"), "-o: expected another folder than the source"),
            (("frames", "-o", "linked"), "-o: expected another folder than the source"),
            (("frames", "--json", "frames/f3.png"), "--json: expected another file than a frame of the source"),
            (("frames", "-o", "maps"), "-o: expected another file than a frame of the source, got maps/f1.png"),
            (("v.mp4", "--json", "v.mp4"), "--json: expected another file than the source"),
            (("v.mp4", "-o", "./x/../x.mp4", "--json", "x.mp4"), "-o: expected another file than that of --json"),
            (("v.mp4", "--masks", "m.png", "--json", "m.png"), "--json: expected another file than that of --masks"),
            (("v.mp4", "--masks", "labels/00000.png", "-o", "labels"), "another folder than that of --masks"),
        ],
    )
    def test_that_are_taken(self, run, capsys, video, frames, tmp_path, options, message) -> None:
        (tmp_path / "linked").symlink_to(frames)
        for folder in ("maps", "labels", "x"):
            (tmp_path / folder).mkdir()
        (tmp_path / "maps" / "f1.png").symlink_to(frames / "f1.png")
        shutil.copy(video, "v.mp4")
        for name in ("m.png", "labels/00000.png"):
            Image.fromarray(truth(0).astype(np.uint8)).save(name)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert message in usage_error(capsys, *options, *BOX)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    def test_of_frames_that_have_one_label_map(self, run, capsys, frames) -> None:
        Image.fromarray(picture(1)).save(frames / "f1.bmp")
        err = usage_error(capsys, frames, *BOX, "-o", "maps")
        assert "got f1.bmp and f1.png, whose label maps would both be f1.png" in err
        assert "13 frames" in run(frames, *BOX, "--json", "t.json")[0]

    def test_where_the_source_is_the_folder_one_is_in(self, run, frames, monkeypatch) -> None:
        monkeypatch.chdir(frames)
        assert "frames_tracks.mp4" in run(".", *BOX, "--limit", 1)[0]
        assert (frames.parent / "frames_tracks.mp4").exists()
        (frames.parent / "maps").mkdir()
        monkeypatch.chdir(frames.parent / "maps")
        run("../frames", *BOX, "--limit", 1, "-o", ".")
        assert names(frames.parent / "maps") == ["f0.png"]

    def test_runs_to_standard_output_have_their_own_folders(self, run, video, frames, monkeypatch, tmp_path) -> None:
        step, seen = Tracker.step, []

        def spying(tracker: Tracker, frame: Any) -> Any:
            (folder,) = tmp_path.glob(".*.evsam-track")
            if not seen:
                seen.append(folder.name)
                with pytest.raises(BlockingIOError), claimed_folder(folder):
                    pass
                assert "no other run is writing" in run(video, *BOX, "--json", "-", code=1)[1]
                assert folder.exists(), "that is the first run's"
            seen.append(folder.name)
            return step(tracker, frame)

        monkeypatch.setattr(Tracker, "step", spying)
        run(video, *BOX, "--json", "-", "--limit", 1)
        first, *_ = seen
        seen[:] = [""]
        run(frames, *BOX, "--json", "-", "--limit", 1)
        assert first not in seen
        assert names(tmp_path) == ["frames"]

    def test_a_run_without_a_frame_leaves_nothing(self, run, video, tmp_path) -> None:
        assert run(video, "--points", 5000, 5000, "--json", "t.json", code=1)[1].startswith("evsam: ")
        assert names(tmp_path) == []


class TestResume:
    @pytest.fixture
    def stops(self, monkeypatch) -> Callable[[int], None]:
        """The tracker fails at its Nth step, as if the process were killed; states are saved behind every third."""
        clock = itertools.count()
        monkeypatch.setattr(track, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(track, "_SAVE_SECONDS", 3)
        monkeypatch.setattr(evsam.Sam, "segment_everything", lambda sam, image: found([~truth(5)]))
        step = Tracker.step

        def at(count: int) -> None:
            steps = iter(range(count))

            def failing(tracker: Tracker, frame: Any) -> Any:
                if next(steps, None) is None:
                    raise KeyboardInterrupt
                return step(tracker, frame)

            monkeypatch.setattr(Tracker, "step", failing)

        return at

    OPTIONS = (*BOX, "--everything-every", 5, "--max-objects", 3)

    def test_the_result_is_that_of_one_run(self, run, video, stops, tmp_path) -> None:
        run(video, *self.OPTIONS, "-o", "whole.mp4", "--json", "whole.json")
        command = (video, *self.OPTIONS, "-o", "torn.mp4", "--json", "torn.json", "--resume")
        stops(8)
        _, err = run(*command, code=130)
        assert err == "stopped behind 8 frames; --resume goes on\n"
        assert names(tmp_path) == [".torn.mp4.evsam-track", "whole.json", "whole.mp4"], "no half video"
        journal = tmp_path / ".torn.mp4.evsam-track" / "frames.jsonl"
        assert [path.name for path in journal.parent.glob("tracker*")] == ["tracker-00000006.evsam"]
        with journal.open("a") as file:
            file.write('{"name": "000')  # torn
        stops(FRAMES - 6)
        _, err = run(*command)
        assert err == "6 frames are done\n"
        assert Path("torn.json").read_bytes() == Path("whole.json").read_bytes()
        # x264 has several ways to write the same pixels
        assert np.array_equal(decoded(Path("torn.mp4")), decoded(Path("whole.mp4")))
        assert names(tmp_path) == ["torn.json", "torn.mp4", "whole.json", "whole.mp4"]
        stops(0)
        assert run(*command) == ("", f"{video} is done\n")
        other = (
            "evsam: --resume: expected torn.json to be of a run with these arguments, got a file of another; "
            "without --resume it begins anew\n"
        )
        for changed in (("--limit", 4), ("--window", 4)):
            assert run(*command, *changed, code=1)[1] == other, "nor is a run done by that of other arguments"
        Path("torn.json").write_text("{}")
        assert run(*command, code=1)[1] == other
        assert run(video, *self.OPTIONS, "-o", "torn.mp4", "--resume") == ("", f"{video} is done\n")
        assert run(video, *BOX, "-o", "torn.mp4", "--resume", code=1)[1] == other.replace("torn.json", "torn.mp4")

    def test_only_with_the_same_arguments(self, run, video, stops) -> None:
        stops(8)
        run(video, *BOX, "--json", "t.json", code=130)
        _, err = run(video, "--box", 1, 2, 30, 40, "--json", "t.json", "--resume", code=1)
        assert err.startswith("evsam: --resume: expected box [[20.0, 40.0, 60.0, 80.0]] as before, got [[1.0")
        stops(FRAMES)
        assert run(video, *BOX, "--json", "t.json")[1] == "", "without --resume it begins anew"

    def test_not_with_a_limit_below_what_is_done(self, run, video, stops) -> None:
        stops(8)
        command = (video, *BOX, "--json", "t.json")
        run(*command, code=130)
        _, err = run(*command, "--resume", "--limit", 3, code=1)
        assert err == "evsam: --limit: expected at least 6, the frames that are done, got 3\n"
        stops(1)
        run(*command, "--resume", "--limit", 7)
        assert json.loads(Path("t.json").read_text())["videos"][0]["length"] == 7

    def test_outputs_in_the_folder_of_the_frames(self, run, frames, stops) -> None:
        command = (frames, *BOX, "-o", frames / "t.mp4", "--json", frames / "t.json")
        stops(8)
        run(*command, code=130)
        stops(FRAMES - 6)
        assert run(*command, "--resume")[1] == "6 frames are done\n"
        stops(0)
        assert run(*command, "--resume") == ("", f"{frames} is done\n")

    def test_not_with_other_frames(self, run, frames, stops) -> None:
        stops(8)
        run(frames, *BOX, "--json", "t.json", code=130)
        (frames / "f2.png").unlink()
        assert "names, sizes and times of what is read" in run(frames, *BOX, "--json", "t.json", "--resume", code=1)[1]

    @pytest.mark.parametrize("line", [0, 2])
    @pytest.mark.parametrize("text", ["{", "[]", "7"])
    def test_what_is_damaged(self, run, video, stops, tmp_path, line, text) -> None:
        folder = tmp_path / ".t.json.evsam-track"
        folder.mkdir()
        lines = ["{}", *['{"name": "0", "tracks": []}'] * 3]
        lines[line] = text
        (folder / "frames.jsonl").write_text("\n".join(lines) + "\n")
        _, err = run(video, *BOX, "--json", "t.json", "--resume", code=1)
        assert err.startswith("evsam: --resume: expected")


@pytest.mark.parametrize("size", [(20_000, 20_000), (8, 70_000)])
def test_sizes_that_no_video_has(tmp_path, size) -> None:
    with pytest.raises(evsam.EvsamError, match=rf"-o: expected frames of a size .* got {size[1]} x {size[0]} pixels"):
        VideoWriter(tmp_path / "large.mp4", "mp4", size, Fraction(10))


def test_the_document_has_the_layout_of_youtube_vis() -> None:
    """Keys and types as the definition of the data set's label files has them; the RLEs are read by pycocotools."""
    mask = truth(0)
    seen = {"id": 1, "score": 0.5, "lost": False, "segmentation": encode_rle(mask)}
    lost = {"id": 1, "score": 0.1, "lost": True, "segmentation": None}
    second = {**seen, "id": 2, "score": 1.0}
    document = json.loads(
        json.dumps(tracks_document([[seen], [lost, second]], mask.shape, file_names=["a.jpg", "b.jpg"]))
    )
    assert {"info", "videos", "annotations", "categories"} <= set(document)
    assert document["videos"] == [
        {"id": 1, "height": HEIGHT, "width": WIDTH, "length": 2, "file_names": ["a.jpg", "b.jpg"]}
    ]
    assert document["categories"] == [{"id": 1, "name": "object", "supercategory": "object"}]
    first, other = document["annotations"]
    assert (first["id"], first["video_id"], first["category_id"], first["iscrowd"]) == (1, 1, 1, 0)
    assert first["bboxes"] == [[20, 40, 40, 40], None]
    assert first["areas"] == [1600, None]
    assert (first["scores"], first["lost"], first["score"]) == ([0.5, 0.1], [False, True], 0.5)
    assert (other["segmentations"][0], other["scores"], other["lost"]) == (None, [None, 1.0], [None, False])
    coco = pytest.importorskip("pycocotools.mask")
    assert np.array_equal(coco.decode(first["segmentations"][0]), mask)
