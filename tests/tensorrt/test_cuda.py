"""Finding CUDA and TensorRT, and what is said where they are not."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from evsam import BackendUnavailable, EvsamError
from evsam.engines.tensorrt import register_plugins
from evsam.engines.tensorrt_runtime.cuda import Cuda, DeviceBuffer, PinnedBuffer, Stream, find_device, load_cuda
from evsam.engines.tensorrt_runtime.library import load_library


def test_both_names_of_the_module(machine) -> None:
    machine(old_cuda=True)
    assert load_cuda().module.__name__ == "cuda.cudart"
    machine()
    assert load_cuda().module.__name__ == "cuda.bindings.runtime"


def test_missing_packages(monkeypatch) -> None:
    for name in ("cuda.bindings.runtime", "cuda.cudart", "tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailable, match=r"tensorrt needs cuda-python; use pip install 'evsam\[tensorrt\]'"):
        load_cuda()
    with pytest.raises(BackendUnavailable, match=r"tensorrt needs tensorrt; use pip install 'evsam\[tensorrt\]'"):
        register_plugins()


def test_a_tensorrt_that_is_too_old(machine) -> None:
    machine(tensorrt="10.2.0")
    with pytest.raises(BackendUnavailable, match=r"engine: expected TensorRT 10\.3 or newer, got 10\.2\.0"):
        load_library()


def test_the_logger_is_one_for_all(world) -> None:
    assert load_library().logger is load_library().logger


def test_errors_have_the_name_of_the_call(world) -> None:
    cuda = load_cuda()
    with pytest.raises(EvsamError, match=r"cudaSetDevice: failed \(cudaErrorInvalidDevice, 101\)"):
        cuda.call("cudaSetDevice", 7)


def test_a_function_that_the_driver_lacks() -> None:
    module: Any = ModuleType("cudart")

    def missing() -> None:
        raise RuntimeError('Function "cudaGraphLaunch" not found')

    module.cudaGraphLaunch = missing
    with pytest.raises(EvsamError, match='cudaGraphLaunch: Function "cudaGraphLaunch" not found'):
        Cuda(module).call("cudaGraphLaunch")


def test_failures_while_freeing_are_logged(world, quiet) -> None:
    buffer = DeviceBuffer(load_cuda(), 10)
    world.failing["cudaFree"] = 1
    buffer.close()
    assert "cudaFree: failed (cudaErrorInvalidValue, 1)" in quiet.text
    world.failing.clear()
    world.free(buffer.address, "device")


def test_the_device(machine) -> None:
    machine(gpu="Orin", compute_capability=(8, 7), driver=12060, devices=3)
    device = find_device(load_cuda(), "cuda:2")
    assert str(device) == "cuda:2"
    assert (device.name, device.compute_capability, device.driver) == ("Orin", "8.7", 12060)


def test_buffers(world) -> None:
    cuda = load_cuda()
    device, pinned, stream = DeviceBuffer(cuda, 0), PinnedBuffer(cuda, 24), Stream(cuda)
    view = pinned.view((2, 3))
    view[...] = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(pinned.view((6,)), np.arange(6))
    assert pinned.view((0, 7)).shape == (0, 7)
    target = DeviceBuffer(cuda, 24)
    stream.to_device(target.address, pinned.address, 24)
    stream.gather(target.address, target.address + 4, 4, 8, 3)
    result = PinnedBuffer(cuda, 24)
    stream.to_host(result.address, target.address, 24)
    assert np.isnan(result.view((6,))).all()
    stream.synchronize()
    np.testing.assert_array_equal(result.view((3,)), [1, 3, 5])
    for thing in (device, pinned, result, stream, target):
        thing.close()
        thing.close()


def test_the_real_package_without_a_driver() -> None:
    pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python")
    cuda = load_cuda()
    if int(cuda.module.cudaGetDeviceCount()[0]) != 0:
        with pytest.raises(BackendUnavailable, match=r"expected a CUDA device .*, got none: cudaGetDeviceCount: "):
            find_device(cuda, None)
    names = [
        *("cudaGetDevice", "cudaSetDevice", "cudaGetDeviceProperties", "cudaDeviceGetAttribute"),
        *("cudaDriverGetVersion", "cudaMalloc", "cudaFree", "cudaMallocHost", "cudaFreeHost", "cudaMemcpy"),
        *("cudaMemcpyAsync", "cudaMemcpy2DAsync", "cudaMemsetAsync", "cudaStreamCreateWithFlags"),
        *("cudaStreamDestroy", "cudaStreamSynchronize", "cudaStreamWaitEvent", "cudaEventCreateWithFlags"),
        *("cudaEventRecord", "cudaEventDestroy", "cudaStreamBeginCapture", "cudaStreamEndCapture"),
        *("cudaGraphInstantiateWithFlags", "cudaGraphLaunch", "cudaGraphDestroy", "cudaGraphExecDestroy"),
        *("cudaMemcpyKind", "cudaStreamCaptureMode", "cudaDeviceAttr", "cudaStreamNonBlocking"),
        "cudaEventDisableTiming",
    ]
    assert [name for name in names if not hasattr(cuda.module, name)] == []


def test_the_real_package_takes_our_arguments() -> None:
    """Without a driver every call fails, but only after its arguments were taken."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python")
    if int(runtime.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("a device is there, which must not see made-up handles")
    copy = runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
    stream, event, graph = runtime.cudaStream_t(16), runtime.cudaEvent_t(16), runtime.cudaGraph_t(16)
    executable = runtime.cudaGraphExec_t(16)
    mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    assert int(stream) == 16
    for name, arguments in [
        ("cudaSetDevice", (0,)),
        ("cudaMalloc", (256,)),
        ("cudaMallocHost", (256,)),
        ("cudaFree", (1 << 40,)),
        ("cudaFreeHost", (1 << 40,)),
        ("cudaMemcpy", (1 << 40, 1 << 41, 16, copy)),
        ("cudaMemcpyAsync", (1 << 40, 1 << 41, 16, copy, stream)),
        ("cudaMemcpy2DAsync", (1 << 40, 4, 1 << 41, 12, 4, 100, copy, stream)),
        ("cudaMemsetAsync", (1 << 40, 0, 16, stream)),
        ("cudaStreamCreateWithFlags", (runtime.cudaStreamNonBlocking,)),
        ("cudaStreamSynchronize", (stream,)),
        ("cudaStreamWaitEvent", (stream, event, 0)),
        ("cudaStreamDestroy", (stream,)),
        ("cudaEventCreateWithFlags", (runtime.cudaEventDisableTiming,)),
        ("cudaEventRecord", (event, 0)),
        ("cudaEventRecord", (event, 1 << 40)),
        ("cudaEventDestroy", (event,)),
        ("cudaStreamBeginCapture", (stream, mode)),
        ("cudaStreamEndCapture", (stream,)),
        ("cudaGraphInstantiateWithFlags", (graph, 0)),
        ("cudaGraphLaunch", (executable, stream)),
        ("cudaGraphDestroy", (graph,)),
        ("cudaGraphExecDestroy", (executable,)),
    ]:
        status, *_ = getattr(runtime, name)(*arguments)
        assert int(status) != 0, name
        with pytest.raises(EvsamError, match=rf"{name}: .*\(cuda[A-Za-z]+, \d+\)"):
            Cuda(runtime).call(name, *arguments)
