"""The model's launches against those of the launchers, which run in emulation: kernels, grids, threads, shared memory.

Nothing is computed here, so the layers have their real sizes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from evsam.gpu_model.devices import DEVICES, get_device
from evsam.gpu_model.geometry import launches
from evsam.gpu_model.report import model_encoder
from evsam.layers import encoder_ops
from evsam.selftest.check import to_device
from evsam.selftest.checks.lists import check_of
from evsam.zoo import VARIANTS, get_variant

PUBLISHED = [name for name in VARIANTS if name != "nano"]


class Zeros(np.random.Generator):
    """Large maps at little cost."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return np.zeros(size or (), dtype)


@pytest.fixture
def trace(emulated):
    """What an op launches on a device: name, grid, threads, shared bytes."""

    def run(op, device):
        limits = device.limits
        emulated.set_device(
            multiprocessors=device.multiprocessors,
            compute_capability=device.compute_capability,
            shared_bytes=limits.shared_per_block,
        )
        check = check_of(op, "gelu")
        arrays = {name: to_device(emulated, values) for name, values in check.inputs(Zeros()).items()}
        emulated.begin_trace(execute=False)
        try:
            check.call(arrays)
        finally:
            found = emulated.end_trace()
        return [(row["name"], row["grid"], row["block"][0], row["shared_bytes"]) for row in found]

    yield run
    emulated.set_device(multiprocessors=108, compute_capability=80, shared_bytes=99 * 1024)


def modelled(op, device):
    return [(launch.kernel, launch.grid, launch.threads, launch.shared_bytes) for launch in launches(op, device)]


def different_ops(names, batch=1):
    """The ops of the encoders, those that only differ in their place once."""
    ops = [op for name in names for op in encoder_ops(get_variant(name), batch)]
    return {dataclasses.replace(op, layer=""): op for op in ops}.values()


@pytest.mark.parametrize("name", ["l0", "xl1"])
def test_launches_are_those_of_the_launchers(trace, name):
    device = get_device("a100")
    for op in different_ops([name]):
        assert modelled(op, device) == trace(op, device), f"{op.layer}: {op.name} {op.shape}"


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_other_devices_and_batches(trace, device):
    for op in different_ops(["l0"], batch=2):
        if op.name != "preprocess":  # one photo a call
            assert modelled(op, device) == trace(op, device), f"{op.layer}: {op.name} {op.shape}"


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_every_op_of_the_published_variants_is_modelled(name, device):
    variant = get_variant(name)
    registers = {  # of any number: their table has a test of its own
        launch.kernel: {device.compute_capability: 128}
        for op in encoder_ops(variant)
        for launch in launches(op, device)
    }
    model = model_encoder(variant, device, 1, registers, launches)
    assert [op.layer for op in model.missing] == []
    macs = sum(row.launch.tensor_macs + row.launch.fp32_macs for row in model.rows if row.op.macs)
    assert macs >= variant.encoder_macs, "kernels may do more than the definition, not less"
    moved = model.bytes
    assert moved["compulsory"] <= moved["launches"]
    # With many multiprocessors for one image, blocks share tiles and pass sums through memory; with few, fusing pays.
    assert moved["launches"] < moved["separate"] or device.multiprocessors > 100
