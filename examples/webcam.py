"""A camera, and objects that are followed through its frames: click on one to add it.

    python examples/webcam.py

Left click: follow what is there. Right click: forget it. q: quit. Needs OpenCV (pip install opencv-python). The model
works in a thread of its own on the newest frame, so the picture does not lag behind, however slow the machine is.
"""

import argparse
import sys
from concurrent.futures import Future
from typing import Any

import cv2
import numpy as np

import evsam

WINDOW = "evsam"


class Viewer:
    """What was shown last, and what clicks on it do."""

    def __init__(self, stream: evsam.Stream) -> None:
        self.stream = stream
        self.shown: evsam.StreamResult | None = None

    def show(self, result: evsam.StreamResult) -> None:
        """Draw the masks on their own frame, which is not the newest one."""
        picture = result.value.overlay(np.ascontiguousarray(result.frame[..., ::-1]))  # OpenCV's frames are BGR
        cv2.imshow(WINDOW, np.asarray(picture)[..., ::-1])
        self.shown = result

    def click(self, event: int, x: int, y: int, *_: Any) -> None:
        """OpenCV calls this. The tracker is at work in the stream's thread, which is asked to do it between frames."""
        if self.shown is None:
            return
        if event == cv2.EVENT_LBUTTONDOWN:
            adding = self.stream.submit(self.stream.tracker.add, self.shown.frame, points=[(x, y)], labels=[1])
            adding.add_done_callback(tell)
        elif event == cv2.EVENT_RBUTTONDOWN:
            for track in self.shown.value.values():
                if track.mask[y, x] and not track.lost:
                    self.stream.submit(self.stream.tracker.remove, track.id).add_done_callback(tell)


def tell(job: "Future[Any]") -> None:
    """Say why a click did nothing."""
    if not job.cancelled() and job.exception() is not None:
        print(job.exception())


def run(capture: Any, stream: evsam.Stream) -> None:
    """Until q is pressed, or the camera has no more frames."""
    viewer = Viewer(stream)
    cv2.namedWindow(WINDOW)
    cv2.setMouseCallback(WINDOW, viewer.click)
    while True:
        there, frame = capture.read()
        if not there:
            return
        stream.put(frame)  # which never waits
        result = stream.get(timeout=0)
        if result is not None:
            viewer.show(result)
        if cv2.waitKey(1) & 0xFF == ord("q"):
            return


def main() -> None:
    """The whole program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camera", type=int, default=0, help="number of the camera")
    parser.add_argument("--deadline", type=float, help="seconds in which a result is of use")
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()

    capture = cv2.VideoCapture(arguments.camera)
    if not capture.isOpened():
        sys.exit(f"webcam.py: camera {arguments.camera} cannot be opened")
    sam = evsam.load(arguments.model)
    try:
        with evsam.Stream(sam, sam.track(bgr=True), deadline=arguments.deadline) as stream:
            run(capture, stream)
        print(stream.stats)
    finally:
        capture.release()
        cv2.destroyAllWindows()


if __name__ == "__main__":
    try:
        main()
    except (evsam.EvsamError, OSError) as error:  # says which argument was wrong, and how
        sys.exit(f"webcam.py: {error}")
