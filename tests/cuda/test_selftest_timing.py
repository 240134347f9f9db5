"""The self-test's timing and data sheets, without a device: a clock and a driver made up for the purpose."""

from __future__ import annotations

import ctypes
from dataclasses import fields
from functools import partial

import pytest

from evsam.errors import BackendUnavailable
from evsam.selftest.devices import DEVICES, data_sheet, get_device
from evsam.selftest.timing import Events, measure_on_device, rates
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
        Events()


NUMBERS = {
    "compute_capability",
    "multiprocessors",
    "clock_mhz",
    "tensor_tflops",
    "fp32_tflops",
    "dram_gbs",
    "l2_bytes",
}


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_every_number_has_a_source(device):
    texts = {"name", "title", "driver_name", "sources", "note"}
    assert {field.name for field in fields(device)} == NUMBERS | texts
    assert set(device.sources) == NUMBERS
    assert all(len(source) > 20 for source in device.sources.values())


# FLOP per clock and multiprocessor on the tensor cores (dense fp16) and fp32 lanes per multiprocessor, as the
# architectures define them; and the clock for which the fp32 rate is given.
@pytest.mark.parametrize(
    ("name", "tensor_flop", "lanes", "fp32_mhz"),
    [("a100", 2048, 64, 1410), ("h100", 4096, 128, 1980), ("orin", 2048, 128, 1300), ("thor", 8192, 128, 1575)],
)
def test_rates_agree_with_the_architecture(name, tensor_flop, lanes, fp32_mhz):
    device = get_device(name)
    tensor = device.multiprocessors * tensor_flop * device.clock_mhz * 1e-6
    assert device.tensor_tflops == pytest.approx(tensor, rel=0.01)
    assert device.fp32_tflops == pytest.approx(device.multiprocessors * 2 * lanes * fp32_mhz * 1e-6, rel=0.01)


def test_device_names():
    assert get_device("a100").name == "a100"
    with pytest.raises(ValueError, match="device: expected one of a100, h100, orin, thor, got 'v100'"):
        get_device("v100")
