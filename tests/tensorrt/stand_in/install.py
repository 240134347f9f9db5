"""Putting the stand-ins in the places of the real packages, for one test."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.tensorrt.stand_in import runtime, tensorrt
from tests.tensorrt.stand_in.world import World


def install(monkeypatch: pytest.MonkeyPatch, world: World, old_cuda: bool = False) -> World:
    """Make the modules of a machine the ones that are imported.

    Args:
        monkeypatch: of the test.
        world: the machine.
        old_cuda: whether CUDA's module has the name that it had before 12.6.
    """
    names: list[str] = ["cuda.bindings.runtime", "cuda.cudart"]
    for name in names:
        wanted = name == names[old_cuda]
        monkeypatch.setitem(sys.modules, name, runtime.make_module(world, name) if wanted else None)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt.make_module(world))
    for major in (10, 11):
        monkeypatch.setitem(sys.modules, f"evsam._trt{major}", None)
    return world


def install_plugins(monkeypatch: pytest.MonkeyPatch, world: World, file: Path, names: tuple[str, ...]) -> str:
    """A library with evsam's plugins; returns its digest."""
    name = f"evsam._trt{world.tensorrt.partition('.')[0]}"
    module: Any = ModuleType(name)
    module.__file__ = f"{name}.so"
    module.library_path = lambda: str(file) if file.exists() else None
    module.register_plugins = lambda: world.plugins.update(names)
    monkeypatch.setitem(sys.modules, name, module)
    return hashlib.sha256(file.read_bytes()).hexdigest()


class DeviceArray:
    """An array of another library in the device's memory.

    Args:
        world: the machine.
        values: what it holds.
        dlpack: whether it speaks DLPack alone.
        offset: bytes between the allocation's beginning and the array.
        stream: that it is ready in the order of, or None.
    """

    def __init__(
        self, world: World, values: np.ndarray, *, dlpack: bool = False, offset: int = 0, stream: int | None = None
    ) -> None:
        self.world = world
        self.shape = values.shape
        self.base = world.allocate(values.nbytes + offset, "device")
        self.address = self.base + offset
        world.find(self.address, values.nbytes)[:] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.asked_for: list[int] = []
        interface = {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": stream,
            "version": 3,
        }
        if dlpack:
            self.__dlpack_device__ = lambda: (2, 0)
            self.__dlpack__ = self._dlpack
            self._values = values
        else:
            self.__cuda_array_interface__ = interface

    def _dlpack(self, *, stream: int) -> Any:
        self.asked_for.append(stream)
        self.capsule = make_capsule(self._values, self.address)
        return self.capsule[0]

    def free(self) -> None:
        self.world.free(self.base, "device")


def make_capsule(values: np.ndarray, address: int) -> tuple[Any, Any]:
    """A DLPack capsule of device memory, and what it needs to stay alive."""
    import ctypes

    class Tensor(ctypes.Structure):
        _fields_ = (
            ("data", ctypes.c_void_p),
            ("device", ctypes.c_int32 * 2),
            ("ndim", ctypes.c_int32),
            ("code", ctypes.c_uint8),
            ("bits", ctypes.c_uint8),
            ("lanes", ctypes.c_uint16),
            ("shape", ctypes.POINTER(ctypes.c_int64)),
            ("strides", ctypes.POINTER(ctypes.c_int64)),
            ("byte_offset", ctypes.c_uint64),
        )

    kept = SimpleNamespace()
    kept.shape = (ctypes.c_int64 * values.ndim)(*values.shape)
    kept.strides = (ctypes.c_int64 * values.ndim)(*(step // values.itemsize for step in values.strides))
    bits = 8 * values.itemsize
    # consumers have to add the offset
    kept.tensor = Tensor(
        address - 256, (ctypes.c_int32 * 2)(2, 0), values.ndim, 2, bits, 1, kept.shape, kept.strides, 256
    )
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(ctypes.addressof(kept.tensor), b"dltensor", None), kept
