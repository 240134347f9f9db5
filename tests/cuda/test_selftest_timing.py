"""The self-test's timing, without a device: a clock and a driver made up for the purpose."""

from __future__ import annotations

import ctypes
from functools import partial

import pytest

from evsam.errors import BackendUnavailable
from evsam.gpu_model.devices import get_device
from evsam.selftest import events
from evsam.selftest.events import Events
from evsam.selftest.timing import data_sheet, measure_on_device, rates
from evsam.timing import Timing


class Clock:
    """Time that goes by only where something is called."""

    def __init__(self):
        self.now = 0.0
        self.order = []

    def spend(self, name, seconds):
        self.order.append(name)
        self.now += seconds

    def record(self):
        self.order.append("event")
        return self.now

    def seconds(self, begin, end):
        return end - begin


@pytest.mark.parametrize(
    ("cache", "round_"),
    [("cold", ["flush", "event", "call", "event"]), ("warm", ["flush", "call", "event", "call", "event"])],
)
def test_measure_on_device(cache, round_):
    clock = Clock()
    candidates = {"one": lambda: clock.spend("call", 2.0)}
    flush = partial(clock.spend, "flush", 100.0)
    assert measure_on_device(candidates, flush, clock, cache, calls=4) == {"one": Timing(2.0, 2.0, 2.0, 4)}
    assert clock.order == round_ * (2 + 4), "until two calls take as long, then those that count"


def test_rates():
    a100 = get_device("a100")
    memory = rates(macs=10**9, moved=2039 * 10**6, seconds=2e-3, device=a100)
    assert memory.roof == "memory"
    assert [memory.percent, memory.gbs, memory.tflops] == pytest.approx([50, 1019.5, 1.0])
    tensor = rates(macs=156 * 10**9, moved=10**6, seconds=4e-3, device=a100)
    assert tensor.roof == "tensor"
    assert tensor.percent == pytest.approx(25)
    assert rates(10, 10, 1.0, None).percent is None


@pytest.mark.parametrize(
    ("name", "multiprocessors", "found"),
    [
        ("NVIDIA A100-SXM4-80GB", 108, "a100"),
        ("NVIDIA A100-SXM4-40GB", 108, None),
        ("NVIDIA H100 80GB HBM3", 132, "h100"),
        ("NVIDIA H100 PCIe", 114, None),
        ("Orin", 16, "orin"),
        ("Orin", 8, None),
        ("NVIDIA Thor", 20, "thor"),
        ("NVIDIA GeForce RTX 4090", 128, None),
    ],
)
def test_data_sheet(name, multiprocessors, found):
    device = data_sheet(name, multiprocessors)
    assert (device.name if device else None) == found


class Driver:
    """The functions of libcuda that are used: events are numbers, and each lasts a millisecond longer than the last."""

    def __init__(self):
        self.events = {}
        self.fail = None

    def __getattr__(self, name):
        if name == self.fail:
            return lambda *_: 719
        return getattr(type(self), "do_" + name).__get__(self)

    def do_cuEventCreate(self, event, flags):
        assert flags.value == 0, "timing is on"
        event._obj.value = len(self.events) + 1
        self.events[event._obj.value] = None
        return 0

    def do_cuEventRecord(self, event, stream):
        assert stream.value is None, "the default stream"
        self.events[event.value] = float(event.value)
        return 0

    def do_cuEventSynchronize(self, event):
        return 0 if event.value in self.events else 400

    def do_cuEventElapsedTime(self, milliseconds, begin, end):
        milliseconds._obj.value = self.events[end.value] - self.events[begin.value]
        return 0

    def do_cuEventDestroy_v2(self, event):
        self.events[event.value] = "destroyed"
        return 0

    def do_cuMemsetD8Async(self, address, value, size, stream):
        self.filled = (address.value, value.value, size.value, stream.value)
        return 0

    def do_cuCtxGetDevice(self, device):
        device._obj.value = 3
        return 0

    def do_cuDeviceGetAttribute(self, count, attribute, device):
        assert (attribute.value, device.value) == (16, 3)
        count._obj.value = 108
        return 0


def test_events():
    driver = Driver()
    clock = Events(driver)
    begin, end = clock.record(), clock.record()
    assert clock.seconds(begin, end) == pytest.approx(1e-3)
    assert set(driver.events.values()) == {"destroyed"}
    clock.fill(1 << 40, 5)
    assert driver.filled == (1 << 40, 0, 5, None)
    assert clock.multiprocessors() == 108


def test_driver_errors():
    driver = Driver()
    driver.fail = "cuEventRecord"
    with pytest.raises(RuntimeError, match="cuEventRecord: expected CUDA_SUCCESS, got error 719 of the CUDA driver"):
        Events(driver).record()


def test_no_driver(monkeypatch):
    def missing(_):
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(BackendUnavailable, match="timing: expected the CUDA driver, got none: libcuda"):
        events.Events()
