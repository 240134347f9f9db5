"""As much of ROS 2 as a node needs that is tested without it: messages, services, topics that are lists.

Messages are made from definitions in ROS's own syntax. Like those that rosidl generates, they take no other fields than
these, and no values of other types; unlike there, bytes must come as ``array('B')``, as everything else is slow there.
"""

from __future__ import annotations

import sys
import threading
import time
from array import array
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "ros2"
PACKAGE, INTERFACES = EXAMPLE / "evsam_ros", EXAMPLE / "evsam_ros_interfaces"

_RANGES = {"uint8": (0, 2**8 - 1), "uint32": (0, 2**32 - 1), "int32": (-(2**31), 2**31 - 1)}
_PLAIN: dict[str, tuple[Any, ...]] = {"string": (str,), "bool": (bool,), "float64": (float,), "byte": (bytes,)}

DEFINITIONS = {
    "builtin_interfaces/Time": "int32 sec; uint32 nanosec",
    "std_msgs/Header": "builtin_interfaces/Time stamp; string frame_id",
    "sensor_msgs/Image": (
        "std_msgs/Header header; uint32 height; uint32 width; string encoding; uint8 is_bigendian; uint32 step; "
        "uint8[] data"
    ),
    "sensor_msgs/CompressedImage": "std_msgs/Header header; string format; uint8[] data",
    "vision_msgs/Point2D": "float64 x; float64 y",
    "vision_msgs/Pose2D": "vision_msgs/Point2D position; float64 theta",
    "vision_msgs/BoundingBox2D": "vision_msgs/Pose2D center; float64 size_x; float64 size_y",
    "vision_msgs/ObjectHypothesis": "string class_id; float64 score",
    "vision_msgs/ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis",
    "vision_msgs/Detection2D": (
        "std_msgs/Header header; vision_msgs/ObjectHypothesisWithPose[] results; vision_msgs/BoundingBox2D bbox; "
        "string id"
    ),
    "vision_msgs/Detection2DArray": "std_msgs/Header header; vision_msgs/Detection2D[] detections",
    "diagnostic_msgs/KeyValue": "string key; string value",
    "diagnostic_msgs/DiagnosticStatus": (
        "byte level; string name; string message; string hardware_id; diagnostic_msgs/KeyValue[] values"
    ),
    "diagnostic_msgs/DiagnosticArray": "std_msgs/Header header; diagnostic_msgs/DiagnosticStatus[] status",
}


def fields_of(definition: str) -> dict[str, str]:
    """Types of a definition's fields, by name."""
    lines = [part.split() for line in definition.splitlines() for part in line.split("#")[0].split(";")]
    return {name: kind for kind, name in filter(None, lines)}


class Message:
    """What every message can; ``fields`` are those of its class."""

    fields: ClassVar[dict[str, str]] = {}

    def __init__(self, **values: Any) -> None:
        for name, kind in self.fields.items():
            object.__setattr__(self, name, _default(kind))
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        _check(f"{type(self).__name__}.{name}", self.fields[name], value)
        object.__setattr__(self, name, value)


_classes: dict[str, type[Message]] = {}


def message_class(name: str, definition: str) -> type[Message]:
    fields = fields_of(definition)
    for kind in fields.values():
        _default(kind)  # which is an error for types that there are not
    return type(name.rpartition("/")[2], (Message,), {"fields": fields})


def _default(kind: str) -> Any:
    if kind == "uint8[]":
        return array("B")
    if kind.endswith("[]"):
        _default(kind[:-2])
        return []
    if kind in _RANGES:
        return 0
    return _PLAIN[kind][0]() if kind in _PLAIN else _classes[kind]()


def _check(where: str, kind: str, value: Any) -> None:
    if kind == "uint8[]":
        assert getattr(value, "typecode", "") == "B", f"{where}: {type(value)}"
    elif kind.endswith("[]"):
        assert isinstance(value, list), f"{where}: {type(value)}"
        for item in value:
            _check(where, kind[:-2], item)
    elif kind in _RANGES:
        low, high = _RANGES[kind]
        assert isinstance(value, int), f"{where}: {type(value)}"
        assert low <= value <= high, f"{where}: {value}"
    else:
        assert isinstance(value, _PLAIN.get(kind) or _classes[kind]), f"{where}: {type(value)} is no {kind}"


for _name, _definition in DEFINITIONS.items():
    _classes[_name] = message_class(_name, _definition)
for _level, _word in enumerate(("OK", "WARN", "ERROR", "STALE")):
    setattr(_classes["diagnostic_msgs/DiagnosticStatus"], _word, bytes([_level]))


def service_class(file: Path) -> type:
    """Of a .srv file."""
    request, response = file.read_text(encoding="utf-8").split("\n---\n")
    parts = {"Request": message_class("Request", request), "Response": message_class("Response", response)}
    return type(file.stem, (), parts)


class Publisher:
    def __init__(self, kind: type, topic: str, qos: Any) -> None:
        self.kind, self.topic, self.qos = kind, topic, qos
        self.messages: list[Any] = []
        self._more = threading.Condition()

    def publish(self, message: Any) -> None:
        assert isinstance(message, self.kind)
        with self._more:
            self.messages.append(message)
            self._more.notify_all()

    def wait(self, count: int, seconds: float = 10) -> list[Any]:
        """All messages, once there are so many."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.messages) >= count, seconds), f"nothing more on {self.topic}"
            return list(self.messages)


class Node:
    """Of rclpy, in one process with nothing behind it."""

    def __init__(self, name: str, *, namespace: str = "", parameters: dict[str, Any] | None = None) -> None:
        self.name, self._overrides = name, dict(parameters or {})
        self.publishers_of: dict[str, Publisher] = {}
        self.subscriptions_of: dict[str, tuple[type, Any, Any]] = {}
        self.services_of: dict[str, tuple[type, Any]] = {}
        self.timers: list[tuple[float, Any]] = []
        self.logged: list[str] = []
        self.destroyed = False

    def declare_parameter(self, name: str, default: Any) -> Any:
        value = self._overrides.pop(name, default)
        assert type(value) is type(default), f"{name}: {value!r}"
        return SimpleNamespace(value=value)

    def create_publisher(self, kind: type, topic: str, qos: Any) -> Publisher:
        return self.publishers_of.setdefault(topic, Publisher(kind, topic, qos))

    def create_subscription(self, kind: type, topic: str, callback: Any, qos: Any) -> None:
        self.subscriptions_of[topic] = (kind, callback, qos)

    def create_service(self, kind: type, name: str, callback: Any) -> None:
        self.services_of[name] = (kind, callback)

    def create_timer(self, seconds: float, callback: Any) -> None:
        self.timers.append((seconds, callback))

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=lambda text, throttle_duration_sec=0.0: self.logged.append(text))

    def get_clock(self) -> Any:
        now = time.time_ns()
        stamp = _classes["builtin_interfaces/Time"](sec=now // 10**9, nanosec=now % 10**9)
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=now, to_msg=lambda: stamp))

    def get_fully_qualified_name(self) -> str:
        return f"/{self.name}"

    def destroy_node(self) -> None:
        self.destroyed = True

    def send(self, topic: str, message: Any) -> None:
        """What another node would publish."""
        kind, callback, _ = self.subscriptions_of[topic]
        assert isinstance(message, kind)
        callback(message)

    def call(self, name: str, **values: Any) -> Any:
        """What another node would ask of a service."""
        kind, callback = self.services_of[name]
        response = callback(kind.Request(**values), kind.Response())  # type: ignore[attr-defined]
        assert isinstance(response, kind.Response)  # type: ignore[attr-defined]
        return response


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ROS's modules, and the packages of the example, importable for one test."""
    modules: dict[str, dict[str, Any]] = {
        "rclpy": {"ok": lambda: True},
        "rclpy.node": {"Node": Node},
        "rclpy.executors": {"ExternalShutdownException": type("ExternalShutdownException", (Exception,), {})},
        "rclpy.qos": {
            "QoSProfile": lambda **settings: SimpleNamespace(reliability="RELIABLE", **settings),
            "qos_profile_sensor_data": SimpleNamespace(reliability="BEST_EFFORT", depth=5),
        },
    }
    for name, kind in _classes.items():
        package, short = name.split("/")
        modules.setdefault(package, {})
        modules.setdefault(f"{package}.msg", {})[short] = kind
    for package in ("evsam_ros_interfaces", "isaac_ros_segment_anything2_interfaces"):
        files = sorted((INTERFACES / "srv").glob("*.srv"))
        modules[package] = {}
        modules[f"{package}.srv"] = {file.stem: service_class(file) for file in files}
    for name, contents in modules.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    for name in [name for name in sys.modules if name.split(".")[0] == "evsam_ros"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(PACKAGE)


def header(stamp: int, frame_id: str = "camera") -> Any:
    time_class = _classes["builtin_interfaces/Time"]
    return _classes["std_msgs/Header"](stamp=time_class(sec=stamp, nanosec=500), frame_id=frame_id)


def image_message(pixels: np.ndarray, encoding: str, stamp: int = 1, padding: int = 0, big: bool = False) -> Any:
    """A sensor_msgs/Image of an array (H, W) or (H, W, C), with rows that are ``padding`` bytes longer."""
    height, width = pixels.shape[:2]
    wide = pixels.dtype.itemsize > 1
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")) if wide else pixels
    content = np.ascontiguousarray(rows).view(np.uint8).reshape(height, -1)
    content = np.pad(content, ((0, 0), (0, padding)), constant_values=7)
    return _classes["sensor_msgs/Image"](
        header=header(stamp),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=content.shape[1],
        data=array("B", content.tobytes()),
    )


def box_message(x0: float, y0: float, x1: float, y1: float) -> Any:
    box = _classes["vision_msgs/BoundingBox2D"](size_x=float(x1 - x0), size_y=float(y1 - y0))
    box.center.position.x, box.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2  # type: ignore[attr-defined]
    return box


def point_message(x: float, y: float) -> Any:
    return _classes["vision_msgs/Point2D"](x=float(x), y=float(y))


def detections_message(stamp: int, *detections: tuple[str, tuple[float, float, float, float]]) -> Any:
    """A Detection2DArray of classes and boxes."""
    found = []
    for class_id, corners in detections:
        hypothesis = _classes["vision_msgs/ObjectHypothesisWithPose"]()
        hypothesis.hypothesis.class_id = class_id  # type: ignore[attr-defined]
        found.append(_classes["vision_msgs/Detection2D"](bbox=box_message(*corners), results=[hypothesis]))
    return _classes["vision_msgs/Detection2DArray"](header=header(stamp), detections=found)


def compressed_message(content: bytes, file_format: str, stamp: int = 1) -> Any:
    kind = _classes["sensor_msgs/CompressedImage"]
    return kind(header=header(stamp), format=file_format, data=array("B", content))


def pixels_of(message: Any) -> np.ndarray:
    """Of a published mono8 image."""
    assert (message.encoding, message.step, message.is_bigendian) == ("mono8", message.width, 0)
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
