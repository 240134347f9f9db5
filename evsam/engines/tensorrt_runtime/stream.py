"""Streams of work for the device, and graphs of work that was recorded on one."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable

from evsam.engines.tensorrt_runtime.cuda import Cuda
from evsam.errors import EvsamError


class Graph:
    """Recorded work that is launched as one."""

    def __init__(self, cuda: Cuda, recorded: object) -> None:
        self._cuda = cuda
        # CUDA 11's cudaGraphInstantiate has other arguments; this one has the same in all versions.
        self._executable = cuda.call("cudaGraphInstantiateWithFlags", recorded, 0)
        self._finalizer = weakref.finalize(self, cuda.release, "cudaGraphExecDestroy", self._executable)
        self._finalizer.atexit = False

    def launch(self, stream: Stream) -> None:
        """Append the work to a stream."""
        self._cuda.call("cudaGraphLaunch", self._executable, stream.handle)

    def close(self) -> None:
        """Free it; nothing of it may be running."""
        self._finalizer()


class Stream:
    """Work that the current device does in order, independent of other streams, the default one included.

    Attributes:
        handle: for functions of the runtime.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle = cuda.call("cudaStreamCreateWithFlags", cuda.module.cudaStreamNonBlocking)
        self._finalizer = weakref.finalize(self, cuda.release, "cudaStreamDestroy", self.handle)
        self._finalizer.atexit = False

    @property
    def address(self) -> int:
        """The handle as a number, for TensorRT and other libraries."""
        return int(self.handle)

    def to_device(self, device: int, host: int, nbytes: int) -> None:
        """Copy from pinned memory, which is not to be changed before the copy is done."""
        self._copy(device, host, nbytes, self._cuda.module.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def to_host(self, host: int, device: int, nbytes: int) -> None:
        """Copy to pinned memory, which is not to be read before :meth:`synchronize`."""
        self._copy(host, device, nbytes, self._cuda.module.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def on_device(self, target: int, source: int, nbytes: int) -> None:
        """Copy from one address of the device to another."""
        self._copy(target, source, nbytes, self._cuda.module.cudaMemcpyKind.cudaMemcpyDeviceToDevice)

    def gather(self, target: int, source: int, item: int, step: int, count: int) -> None:
        """Copy on the device: ``count`` items of ``item`` bytes, that are ``step`` bytes apart, become adjacent."""
        kind = self._cuda.module.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._cuda.call("cudaMemcpy2DAsync", target, item, source, step, item, count, kind, self.handle)

    def zero(self, device: int, nbytes: int) -> None:
        """Fill memory of the device with zeros."""
        self._cuda.call("cudaMemsetAsync", device, 0, nbytes, self.handle)

    def wait_for(self, other: int) -> None:
        """Let what follows wait for what is on another stream now; 0 is the default stream."""
        event = self._cuda.call("cudaEventCreateWithFlags", self._cuda.module.cudaEventDisableTiming)
        try:
            self._cuda.call("cudaEventRecord", event, other)
            self._cuda.call("cudaStreamWaitEvent", self.handle, event, 0)
        finally:
            self._cuda.release("cudaEventDestroy", event)

    def record(self, enqueue: Callable[[], None]) -> Graph:
        """Record what ``enqueue`` appends to this stream, without running it.

        Raises:
            EvsamError: something in it cannot be recorded.
        """
        # Other threads may allocate memory meanwhile, which a capture of global mode would forbid them.
        mode = self._cuda.module.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self.handle, mode)
        try:
            enqueue()
        except EvsamError:
            with contextlib.suppress(EvsamError):  # which says less than the first one
                self._cuda.release("cudaGraphDestroy", self._cuda.call("cudaStreamEndCapture", self.handle))
            raise
        recorded = self._cuda.call("cudaStreamEndCapture", self.handle)
        try:
            return Graph(self._cuda, recorded)
        finally:
            self._cuda.release("cudaGraphDestroy", recorded)

    def synchronize(self) -> None:
        """Wait until everything on this stream is done."""
        self._cuda.call("cudaStreamSynchronize", self.handle)

    def close(self) -> None:
        """Free the stream; later calls do nothing."""
        self._finalizer()

    def _copy(self, target: int, source: int, nbytes: int, kind: object) -> None:
        if nbytes:
            self._cuda.call("cudaMemcpyAsync", target, source, nbytes, kind, self.handle)
