"""The node: topics, services, parameters and diagnostics around a :class:`evsam_ros.segmenter.Segmenter`."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import BoundingBox2D, Detection2D, Detection2DArray, ObjectHypothesisWithPose

import evsam
from evsam_ros.images import fill_image, image_array, read_frame
from evsam_ros.segmenter import Matching, Prompt, Result, Segmenter, shown_objects

DEFAULTS: dict[str, Any] = {
    "model": "nano",
    "engine": "auto",
    "device": "",
    "precision": "",
    "threads": 0,
    "mode": "segment",
    "prompt_input_type": "bbox",
    "has_input_mask": False,
    "max_batch_size": 20,
    "orig_img_dims": [0, 0],
    "scale_16bit": "full",
    "deadline": 0.0,
    "sync_queue_size": 10,
    "image_transport": "raw",
    "input_qos": "SENSOR_DATA",
    "output_qos": "DEFAULT",
    "interfaces": "evsam_ros_interfaces",
    "diagnostic_period": 1.0,
}
CHOICES = {
    "mode": ("segment", "track"),
    "prompt_input_type": ("bbox", "point"),
    "scale_16bit": ("full", "stretch"),
    "image_transport": ("raw", "compressed"),
    "input_qos": ("SENSOR_DATA", "DEFAULT"),
    "output_qos": ("SENSOR_DATA", "DEFAULT"),
}
LOG_PERIOD = 5.0  # s, between messages of one kind about frames


class _Work(NamedTuple):
    """What the stream carries: messages of one time stamp, of which the frame is always there."""

    messages: Mapping[str, Any]


class _Worker:
    """What the stream calls in its thread: as a tracker, it has ``step``."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], Result]) -> None:
        self._answer = answer

    def step(self, work: _Work) -> Result | evsam.EvsamError:
        """Masks in a frame. An error of one frame must not end the stream of the others."""
        try:
            return self._answer(work.messages)
        except evsam.EvsamError as error:
            return error


class EvsamNode(Node):
    """Segments or follows objects in the images of a camera.

    Args:
        sam: the model; None loads what the parameters say.
        options: of rclpy's Node.

    Raises:
        ValueError: a parameter that cannot be meant.
        EvsamError: the model cannot be loaded.
    """

    def __init__(self, sam: evsam.Sam | None = None, **options: Any) -> None:
        super().__init__("evsam", **options)
        settings = {name: self.declare_parameter(name, value).value for name, value in DEFAULTS.items()}
        for name, choices in CHOICES.items():
            if settings[name] not in choices:
                raise ValueError(f"{name}: expected {' or '.join(choices)}, got {settings[name]!r}")
        self._settings = settings
        self._segmenter = Segmenter(
            sam or _load(settings),
            settings["max_batch_size"],
            tuple(settings["orig_img_dims"]),
            settings["scale_16bit"],
        )
        track = settings["mode"] == "track"
        parts = ["frame"] if track else ["frame", "detections", *["mask"] * settings["has_input_mask"]]
        self._matching = Matching(parts, settings["sync_queue_size"])
        self._held: deque[Any] = deque(maxlen=settings["sync_queue_size"])  # frames that objects may be shown in
        self._failures = self._failures_told = self._unmatched_told = 0
        self._last = "no frame yet"
        self._age = float("nan")

        output = _qos(settings["output_qos"])
        self._mask_publisher = self.create_publisher(Image, "binary_mask", output)
        self._label_publisher = self.create_publisher(Image, "label_image", output)
        self._detection_publisher = self.create_publisher(Detection2DArray, "detection_array", output)
        self._diagnostic_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self._stream = evsam.Stream(
            self._segmenter.sam,
            _Worker(self._track if track else self._segment),
            deadline=settings["deadline"] or None,
            on_result=lambda result: self._publish(result.frame.messages["frame"].header, result.value),
        )
        if settings["image_transport"] == "raw":
            self._subscribe(Image, "image_rect", self._take_frame)
        else:
            self._subscribe(CompressedImage, "image_rect/compressed", self._take_frame)
        if track:
            self._serve("AddObjects", "add_objects", self._add_objects)
            self._serve("RemoveObject", "remove_object", self._remove_object)
        else:
            self._subscribe(Detection2DArray, "detections_output", self._take_detections)
            if settings["has_input_mask"]:
                self._subscribe(Image, "mask", lambda message: self._take("mask", message))
        self.create_timer(settings["diagnostic_period"], self._diagnose)

    def destroy_node(self) -> None:
        """Stop the stream before what it publishes to goes."""
        try:
            self._stream.close()
        finally:
            super().destroy_node()

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        self.create_subscription(kind, topic, callback, _qos(self._settings["input_qos"]))

    def _serve(self, kind: str, name: str, callback: Callable[[Any, Any], Any]) -> None:
        services = importlib.import_module(f"{self._settings['interfaces']}.srv")
        self.create_service(getattr(services, kind), name, callback)

    def _take_frame(self, message: Any) -> None:
        if self._settings["mode"] == "track":
            self._held.append(message)
            if self._segmenter.idle:
                return
        self._take("frame", message)

    def _take_detections(self, message: Any) -> None:
        if message.detections:  # of frames without any, nothing is computed or published
            self._take("detections", message)

    def _take(self, part: str, message: Any) -> None:
        messages = self._matching.put(part, _stamp(message.header), message)
        if messages is not None:
            self._stream.put(_Work(messages))

    def _segment(self, messages: Mapping[str, Any]) -> Result:
        """In the stream's thread."""
        prompts = _prompts(messages["detections"], self._settings["prompt_input_type"])
        mask = image_array(messages["mask"])[..., 0] if "mask" in messages else None
        return self._segmenter.segment(read_frame(messages["frame"]), prompts, mask)

    def _track(self, messages: Mapping[str, Any]) -> Result:
        """In the stream's thread."""
        return self._segmenter.track(read_frame(messages["frame"]))

    def _publish(self, header: Any, result: Result | evsam.EvsamError) -> None:
        """In the stream's thread."""
        problems = [str(result)] if isinstance(result, evsam.EvsamError) else result.refused
        self._failures += len(problems)
        for problem in problems:
            self.get_logger().warning(problem, throttle_duration_sec=LOG_PERIOD)
        if isinstance(result, evsam.EvsamError):
            self._last = str(result)
            return
        messages = [
            (self._mask_publisher, _image(header, result.binary_mask())),
            (self._label_publisher, _image(header, result.label_image)),
            (self._detection_publisher, _detection_array(header, result)),
        ]
        try:
            for publisher, message in messages:
                publisher.publish(message)
        except Exception:
            if rclpy.ok():  # else the program was interrupted while this frame was worked on
                raise
        self._age = self.get_clock().now().nanoseconds / 1e9 - _seconds(header)
        self._last = f"{len(result.objects)} objects" + (f", lost: {', '.join(result.lost)}" if result.lost else "")

    def _add_objects(self, request: Any, response: Any) -> Any:
        stamp = _stamp(request.request_header)
        held = next((message for message in self._held if _stamp(message.header) == stamp), None)
        try:
            boxes, points = map(_corners, request.bbox_coords), [(point.x, point.y) for point in request.point_coords]
            prompts = shown_objects(
                request.bbox_object_ids, list(boxes), request.point_object_ids, points, list(request.point_labels)
            )
            frame = None if held is None else read_frame(held)
            return _answer(response, self._segmenter.add(prompts, frame))
        except evsam.EvsamError as error:
            return _answer(response, self._segmenter.numbers(), error)

    def _remove_object(self, request: Any, response: Any) -> Any:
        try:
            return _answer(response, self._segmenter.remove(request.object_id))
        except evsam.EvsamError as error:
            return _answer(response, self._segmenter.numbers(), error)

    def _diagnose(self) -> None:
        stats, failures, unmatched = self._stream.stats, self._failures, self._matching.unmatched
        status = DiagnosticStatus(name=f"{self.get_fully_qualified_name()}: frames", message=self._last)
        status.hardware_id = f"{self._segmenter.sam.variant.name} on {self._segmenter.sam.device}"
        status.level = DiagnosticStatus.OK
        if self._stream.closed:
            status.level, status.message = DiagnosticStatus.ERROR, "the stream has ended"
        elif failures > self._failures_told:
            status.level = DiagnosticStatus.WARN
        elif unmatched > self._unmatched_told:
            status.level = DiagnosticStatus.WARN
            status.message = "detections have time stamps of no frame: are they of these images?"
        self._failures_told, self._unmatched_told = failures, unmatched
        values = {
            "frames taken": stats.put,
            "frames done": stats.done,
            **{f"frames dropped: {reason}": count for reason, count in stats.drops.items()},
            "frames late": stats.late,
            "failures": failures,
            "detections without frame": unmatched,
            "objects followed": len(self._segmenter.numbers()),
            **{f"latency {name} [ms]": f"{1e3 * getattr(stats.latency, name):.1f}" for name in ("p50", "p99", "p999")},
            **{f"work {name} [ms]": f"{1e3 * getattr(stats.work, name):.1f}" for name in ("p50", "p99", "p999")},
            "age of the last result [ms]": f"{1e3 * self._age:.1f}",
        }
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostic_publisher.publish(message)


def _load(settings: Mapping[str, Any]) -> evsam.Sam:
    optional = {name: settings[name] or None for name in ("device", "precision", "threads")}
    return evsam.load(settings["model"], engine=settings["engine"], **optional)


def _qos(name: str) -> QoSProfile:
    return qos_profile_sensor_data if name == "SENSOR_DATA" else QoSProfile(depth=10)


def _stamp(header: Any) -> tuple[int, int]:
    return header.stamp.sec, header.stamp.nanosec


def _seconds(header: Any) -> float:
    return header.stamp.sec + header.stamp.nanosec / 1e9


def _corners(box: Any) -> tuple[float, float, float, float]:
    """Of a vision_msgs/BoundingBox2D."""
    x, y = box.center.position.x, box.center.position.y
    return x - box.size_x / 2, y - box.size_y / 2, x + box.size_x / 2, y + box.size_y / 2


def _prompts(message: Any, kind: str) -> list[Prompt]:
    """Of a vision_msgs/Detection2DArray: a box for each detection, or one object with all centres as points."""
    detections: Sequence[Any] = message.detections
    if kind == "bbox":
        return [
            Prompt(found.id or str(index), _class_id(found), box=_corners(found.bbox))
            for index, found in enumerate(detections)
        ]
    centres = tuple((found.bbox.center.position.x, found.bbox.center.position.y) for found in detections)
    return [Prompt("0", points=centres, labels=(1,) * len(centres))] if centres else []


def _class_id(detection: Any) -> str:
    return (detection.results[0].hypothesis.class_id if detection.results else "") or "mask"


def _image(header: Any, pixels: npt.NDArray[np.uint8]) -> Image:
    message = Image(header=header)
    fill_image(message, pixels)
    return message


def _detection_array(header: Any, result: Result) -> Detection2DArray:
    message = Detection2DArray(header=header)
    for found in result.objects:
        x0, y0, x1, y1 = found.box
        box = BoundingBox2D(size_x=x1 - x0, size_y=y1 - y0)
        box.center.position.x, box.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = found.class_id, found.score
        message.detections.append(Detection2D(header=header, id=found.id, bbox=box, results=[hypothesis]))
    return message


def _answer(response: Any, numbers: Mapping[str, int], error: evsam.EvsamError | None = None) -> Any:
    response.object_ids, response.object_indices = list(numbers), list(numbers.values())
    response.success, response.message = error is None, str(error or "Success")
    return response


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node until it is interrupted."""
    rclpy.init(args=arguments)
    try:
        node = EvsamNode()
        try:
            rclpy.spin(node)
        finally:
            node.destroy_node()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
