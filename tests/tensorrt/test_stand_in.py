"""Wrong uses of CUDA and TensorRT, which the stand-in must catch: otherwise the other tests say nothing."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.tensorrt import small_models
from tests.tensorrt.stand_in.install import install
from tests.tensorrt.stand_in.runtime import CaptureMode, MemcpyKind, Status
from tests.tensorrt.stand_in.world import Broken, World

LARGEST = {"images": (2, 3, 512, 512)}
IN, OUT, ON = MemcpyKind.cudaMemcpyHostToDevice, MemcpyKind.cudaMemcpyDeviceToHost, MemcpyKind.cudaMemcpyDeviceToDevice


@pytest.fixture
def broken_world(monkeypatch) -> World:
    return install(monkeypatch, World())


@pytest.fixture
def cuda(broken_world) -> Any:
    return sys.modules["cuda.bindings.runtime"]


@pytest.fixture
def trt(broken_world) -> Any:
    return sys.modules["tensorrt"]


def pinned_view(address: int, size: int) -> np.ndarray:
    memory: Any = (ctypes.c_ubyte * size).from_address(address)
    return np.frombuffer(memory, np.uint8)


class Run:
    """A context with everything that a run needs."""

    def __init__(self, cuda: Any, trt: Any) -> None:
        self.logger = type("Logger", (trt.ILogger,), {"log": lambda *_: None})()
        self.runtime = trt.Runtime(self.logger)
        self.engine = self.runtime.deserialize_cuda_engine(build(trt, self.logger))
        self.context = self.engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        size = self.engine.get_device_memory_size_for_profile_v2(0)
        self.scratch = cuda.cudaMalloc(size)[1]
        self.context.set_device_memory(self.scratch, size)
        self.stream = cuda.cudaStreamCreateWithFlags(1)[1]
        self.context.set_input_shape("images", (1, 3, 512, 512))
        self.buffers = {}
        for index in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(index)
            self.buffers[name] = cuda.cudaMalloc(4 * int(np.prod(self.context.get_tensor_shape(name))))[1]
            self.context.set_tensor_address(name, self.buffers[name])

    def enqueue(self) -> bool:
        return bool(self.context.execute_async_v3(int(self.stream)))


def build(trt: Any, logger: Any, flags: int = 2, profile: bool = True) -> Any:
    builder = trt.Builder(logger)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(small_models.encoder())
    config = builder.create_builder_config()
    if profile:
        shapes = builder.create_optimization_profile()
        shapes.set_shape("images", (1, 3, 512, 512), (1, 3, 512, 512), (2, 3, 512, 512))
        config.add_optimization_profile(shapes)
    return builder.build_serialized_network(network, config)


@pytest.fixture
def run(cuda, trt) -> Run:
    return Run(cuda, trt)


def test_a_right_use(run, cuda) -> None:
    assert run.enqueue()
    size = 128 * 32 * 32 * 4
    host = cuda.cudaMallocHost(size)[1]
    cuda.cudaMemsetAsync(run.buffers["images"], 0, 4 * 3 * 512 * 512, run.stream)
    run.enqueue()
    cuda.cudaMemcpyAsync(host, run.buffers["image_embeddings"], size, OUT, run.stream)
    values = pinned_view(host, size).view(np.float32)
    assert np.isnan(values).all(), "read before the stream was synchronised"
    cuda.cudaStreamSynchronize(run.stream)
    assert (values == 0).all()


def test_memory_is_not_initialised(run, cuda) -> None:
    run.enqueue()
    size = 128 * 32 * 32 * 4
    host = np.empty(size, np.uint8)
    cuda.cudaStreamSynchronize(run.stream)
    cuda.cudaMemcpy(host.ctypes.data, run.buffers["image_embeddings"], size, OUT)
    assert np.isnan(host.view(np.float32)).all()


def test_memory(cuda, broken_world) -> None:
    device, stream = cuda.cudaMalloc(100)[1], cuda.cudaStreamCreateWithFlags(1)[1]
    host = cuda.cudaMallocHost(200)[1]
    for size, source, kind, message in [
        (101, host, IN, "reach beyond the 100 bytes"),
        (10, np.zeros(10).ctypes.data, IN, "which is no memory of CUDA"),
        (10, device, IN, "expected pinned memory, got device memory"),
        (10, host, ON, "expected device memory, got pinned memory"),
    ]:
        with pytest.raises(Broken, match=message):
            cuda.cudaMemcpyAsync(device, source, size, kind, stream)
    with pytest.raises(Broken, match="which is no memory of CUDA"):
        cuda.cudaMemsetAsync(device + 128, 0, 1, stream)
    with pytest.raises(Broken, match="which is no pinned memory"):
        cuda.cudaFreeHost(device)
    cuda.cudaFree(device)
    with pytest.raises(Broken, match="double free of device memory"):
        cuda.cudaFree(device)
    with pytest.raises(Broken, match="after it was freed"):
        cuda.cudaMemsetAsync(device, 0, 1, stream)
    with pytest.raises(Broken, match="stream 0x99, which does not exist"):
        cuda.cudaStreamSynchronize(0x99)
    assert len(broken_world.violations) == 9


def test_freeing_what_a_copy_needs(cuda, broken_world) -> None:
    device, stream = cuda.cudaMalloc(100)[1], cuda.cudaStreamCreateWithFlags(1)[1]
    host = cuda.cudaMallocHost(100)[1]
    pinned_view(host, 100)[:] = 7
    cuda.cudaMemcpyAsync(device, host, 100, IN, stream)
    pinned_view(host, 100)[:] = 9
    cuda.cudaStreamSynchronize(stream)
    assert (broken_world.find(device, 100) == 9).all(), "the source was changed before the copy was done"


def test_leaks(cuda, broken_world) -> None:
    cuda.cudaMalloc(10)
    cuda.cudaMallocHost(20)
    stream = cuda.cudaStreamCreateWithFlags(1)[1]
    cuda.cudaEventCreateWithFlags(2)
    cuda.cudaStreamBeginCapture(stream, CaptureMode.cudaStreamCaptureModeThreadLocal)
    cuda.cudaGraphInstantiateWithFlags(cuda.cudaStreamEndCapture(stream)[1], 0)
    assert [leak.split()[0] for leak in broken_world.leaks()] == [
        "device",
        "pinned",
        "stream",
        "event",
        "graph",
        "graph",
    ]


def test_order_of_streams(cuda, broken_world) -> None:
    one, other = (cuda.cudaStreamCreateWithFlags(1)[1] for _ in range(2))
    device, host = cuda.cudaMalloc(4)[1], cuda.cudaMallocHost(4)[1]
    cuda.cudaMemsetAsync(device, 5, 4, one)
    cuda.cudaMemcpyAsync(host, device, 4, OUT, other)
    cuda.cudaStreamSynchronize(other)
    assert (pinned_view(host, 4) != 5).all(), "nobody waited for the other stream"
    cuda.cudaMemsetAsync(device, 6, 4, one)
    event = cuda.cudaEventCreateWithFlags(2)[1]
    cuda.cudaEventRecord(event, one)
    cuda.cudaStreamWaitEvent(other, event, 0)
    cuda.cudaMemcpyAsync(host, device, 4, OUT, other)
    cuda.cudaStreamSynchronize(other)
    assert (pinned_view(host, 4) == 6).all()


def test_a_run_without_something(run, cuda, trt) -> None:
    fresh = run.engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    with pytest.raises(Broken, match=r"without the shapes of \['images'\]"):
        fresh.execute_async_v3(int(run.stream))
    fresh.set_input_shape("images", (1, 3, 512, 512))
    with pytest.raises(Broken, match="without the address of images"):
        fresh.execute_async_v3(int(run.stream))
    for name, address in run.buffers.items():
        fresh.set_tensor_address(name, address)
    with pytest.raises(Broken, match="without device memory"):
        fresh.execute_async_v3(int(run.stream))
    with pytest.raises(Broken, match="too small for the profile"):
        fresh.set_device_memory(run.scratch, 10)
    with pytest.raises(Broken, match="default stream"):
        run.context.execute_async_v3(0)


def test_shapes_and_addresses(run) -> None:
    assert not run.context.set_input_shape("images", (3, 3, 512, 512))
    assert not run.context.set_input_shape("images", (1, 3, 512))
    assert not run.context.set_tensor_address("images", run.buffers["images"] + 4)
    assert not run.context.set_tensor_address("pictures", run.buffers["images"])
    run.context.set_input_shape("images", (2, 3, 512, 512))
    with pytest.raises(Broken, match="reach beyond"):
        run.enqueue()


def test_memory_that_went_before_the_run(run, cuda) -> None:
    cuda.cudaFree(run.buffers["images"])
    with pytest.raises(Broken, match="after it was freed"):
        run.enqueue()


def test_scratch_that_went_before_the_run(run, cuda) -> None:
    cuda.cudaFree(run.scratch)
    with pytest.raises(Broken, match="after it was freed"):
        run.enqueue()


def test_two_threads(run, cuda) -> None:
    run.enqueue()
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Broken, match="while work of another one was running"):
            pool.submit(run.enqueue).result()
        cuda.cudaStreamSynchronize(run.stream)
        assert pool.submit(run.enqueue).result()
        pool.submit(cuda.cudaStreamSynchronize, run.stream).result()
    run.context.turn.acquire()
    with pytest.raises(Broken, match="by two threads at once"):
        run.enqueue()


def capture(cuda: Any, stream: Any, mode: CaptureMode = CaptureMode.cudaStreamCaptureModeThreadLocal) -> None:
    assert cuda.cudaStreamBeginCapture(stream, mode) == (Status.cudaSuccess,)


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda cuda, run: cuda.cudaMalloc(4),
        lambda cuda, run: cuda.cudaMallocHost(4),
        lambda cuda, run: cuda.cudaFree(run.scratch),
        lambda cuda, run: cuda.cudaStreamSynchronize(run.stream),
    ],
)
def test_what_a_capture_forbids(run, cuda, forbidden) -> None:
    run.enqueue()
    capture(cuda, run.stream)
    run.enqueue()
    assert forbidden(cuda, run)[0] == Status.cudaErrorStreamCaptureUnsupported
    assert cuda.cudaStreamEndCapture(run.stream)[0] == Status.cudaErrorStreamCaptureInvalidated


def test_captures_and_other_threads(run, cuda) -> None:
    with ThreadPoolExecutor(1) as pool:
        capture(cuda, run.stream)
        assert pool.submit(cuda.cudaMalloc, 4).result()[0] == Status.cudaSuccess
        assert cuda.cudaStreamEndCapture(run.stream)[0] == Status.cudaSuccess
        capture(cuda, run.stream, CaptureMode.cudaStreamCaptureModeGlobal)
        assert pool.submit(cuda.cudaMalloc, 4).result()[0] == Status.cudaErrorStreamCaptureUnsupported
        assert cuda.cudaStreamEndCapture(run.stream)[0] == Status.cudaErrorStreamCaptureInvalidated


def test_a_capture_without_a_run_before(run, cuda) -> None:
    capture(cuda, run.stream)
    assert not run.enqueue()
    assert cuda.cudaStreamEndCapture(run.stream)[0] == Status.cudaErrorStreamCaptureInvalidated


def test_graphs_have_fixed_shapes(run, cuda) -> None:
    run.enqueue()
    capture(cuda, run.stream)
    run.enqueue()
    executable = cuda.cudaGraphInstantiateWithFlags(cuda.cudaStreamEndCapture(run.stream)[1], 0)[1]
    cuda.cudaGraphLaunch(executable, run.stream)
    cuda.cudaStreamSynchronize(run.stream)
    run.context.set_input_shape("images", (2, 3, 512, 512))
    cuda.cudaGraphLaunch(executable, run.stream)
    with pytest.raises(Broken, match="whose context has got other shapes"):
        cuda.cudaStreamSynchronize(run.stream)
    cuda.cudaGraphExecDestroy(executable)
    with pytest.raises(Broken, match="destroyed"):
        cuda.cudaGraphLaunch(executable, run.stream)
    with pytest.raises(Broken, match="destroyed twice"):
        cuda.cudaGraphExecDestroy(executable)


def test_parents_that_went_first(run, broken_world) -> None:
    del run.runtime
    with pytest.raises(Broken, match="use of Engine after the object that it belongs to has gone"):
        run.engine.create_execution_context()
    del run.engine
    assert "an engine has gone before its contexts" in broken_world.violations
    with pytest.raises(Broken, match="use of Context after"):
        run.enqueue()


def test_a_context_that_went_during_its_work(run, cuda) -> None:
    run.enqueue()
    del run.context
    with pytest.raises(Broken, match="a context has gone before its work was done"):
        cuda.cudaStreamSynchronize(run.stream)


def test_builds(trt, broken_world) -> None:
    logger = type("Logger", (trt.ILogger,), {"log": lambda *_: None})()
    with pytest.raises(Broken, match="not strongly typed"):
        build(trt, logger, flags=0)
    assert build(trt, logger, profile=False) is None
    builder = trt.Builder(logger)
    network = builder.create_network(2)
    assert trt.OnnxParser(network, logger).parse(small_models.encoder())
    config = builder.create_builder_config()
    with pytest.raises(Broken, match="after the parser"):
        builder.build_serialized_network(network, config)
    with pytest.raises(Broken, match="flag FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    with pytest.raises(TypeError, match="ILogger was not called"):
        trt.Builder(object())


def test_versions(monkeypatch) -> None:
    install(monkeypatch, World(tensorrt="11.4.0"))
    new: Any = sys.modules["tensorrt"]
    assert not hasattr(new.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    assert not hasattr(new.BuilderFlag, "FP16")
    install(monkeypatch, World(tensorrt="10.3.0"), old_cuda=True)
    old: Any = sys.modules["tensorrt"]
    assert hasattr(old.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    assert not hasattr(old.NetworkDefinitionCreationFlag, "PREFER_AOT_PYTHON_PLUGINS")
    assert sys.modules["cuda.bindings.runtime"] is None
