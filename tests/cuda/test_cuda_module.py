"""The compiled module evsam._cuda: arrays in and out by DLPack and __cuda_array_interface__, and what was launched.

All through its emulated build, whose device arrays are those on the CPU.
"""

from __future__ import annotations

import gc
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch has the device arrays of these tests")

DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool")
NOT_ON_DEVICE = "x: expected an array on the CPU, which is the device of the emulation, got "


def layer_norm_arguments(dtype: Any = np.float16) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 5, 16)).astype(dtype).transpose(0, 3, 1, 2)
    return x, np.ones(16, np.float32), np.zeros(16, np.float32), np.empty_like(x)


class Interface:
    """An array that has __cuda_array_interface__ and no DLPack."""

    def __init__(self, array: np.ndarray, **changes: Any) -> None:
        fields = dict(array.__array_interface__)
        self.array = array
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": fields["shape"],
            "typestr": fields["typestr"],
            "data": fields["data"],
            "strides": fields["strides"],
            **changes,
        }


class Old:
    """A producer of DLPack 0.x: its method knows neither of versions nor of copies."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __dlpack__(self, stream: int | None = None) -> Any:
        return torch.utils.dlpack.to_dlpack(self.tensor)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class Elsewhere(Old):
    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


class TestDescribe:
    @pytest.mark.parametrize(
        ("dtype", "name"),
        [
            ("f2", "float16"),
            ("f4", "float32"),
            ("f8", "float64"),
            ("i1", "int8"),
            ("u1", "uint8"),
            ("i4", "int32"),
            ("i8", "int64"),
            ("?", "bool"),
            ("c8", "an unsupported dtype"),
            ("u2", "an unsupported dtype"),
        ],
    )
    def test_dtypes(self, emulated: Any, dtype: str, name: str) -> None:
        array = np.zeros((2, 3), dtype)
        assert emulated.describe(array) == ((2, 3), name, (3, 1))
        assert emulated.describe(Interface(array)) == ((2, 3), name, (3, 1))

    def test_bfloat16(self, emulated: Any) -> None:
        assert emulated.describe(torch.zeros(2, 3, dtype=torch.bfloat16)) == ((2, 3), "bfloat16", (3, 1))

    @pytest.mark.parametrize("wrap", [lambda array: array, Interface, lambda array: Old(torch.from_numpy(array))])
    def test_strides_are_in_elements(self, emulated: Any, wrap: Any) -> None:
        array = np.zeros((4, 6, 8), np.float32)[1::2, :, 2:5].transpose(2, 0, 1)
        assert emulated.describe(wrap(array)) == ((3, 2, 6), "float32", (1, 96, 8))

    def test_without_strides_it_is_c_order(self, emulated: Any) -> None:
        assert emulated.describe(Interface(np.zeros((2, 3, 4), np.float32), strides=None))[2] == (12, 4, 1)

    @pytest.mark.parametrize(
        ("array", "error", "message"),
        [
            ([1.0], TypeError, NOT_ON_DEVICE + "list"),
            (SimpleNamespace(), TypeError, NOT_ON_DEVICE + "types.SimpleNamespace"),
            (Elsewhere(torch.zeros(1)), TypeError, NOT_ON_DEVICE + f"{__name__}.Elsewhere on DLPack device type 2"),
            (
                torch.zeros(1, requires_grad=True),
                TypeError,
                NOT_ON_DEVICE + "torch.Tensor: Can't export tensors that require gradient, use tensor.detach()",
            ),
            (np.zeros((1,) * 7), ValueError, "x: expected at most 6 axes, got 7"),
            (Interface(np.zeros((1,) * 7)), ValueError, "x: expected at most 6 axes, got 7"),
            (Interface(np.zeros(4), version=1), TypeError, "x: expected __cuda_array_interface__ 2 or 3, got 1"),
            (
                Interface(np.zeros(4, np.float32), strides=(6,)),
                ValueError,
                "x: expected strides that are multiples of the item size, got 6 bytes",
            ),
        ],
    )
    def test_messages(self, emulated: Any, array: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error) as caught:
            emulated.describe(array, "x")
        assert str(caught.value) == message

    @pytest.mark.parametrize("stream", [-1, 1.5, "0", True, 2**65])
    def test_stream(self, emulated: Any, stream: Any) -> None:
        with pytest.raises(TypeError) as caught:
            emulated.describe(np.zeros(3), "x", stream)
        expected = "stream: expected the address of a CUDA stream as an integer, or None, got "
        assert str(caught.value) == expected + repr(stream)

    def test_other_errors_of_the_producer_pass_through(self, emulated: Any) -> None:
        class Interrupted(Old):
            def __dlpack__(self, stream: int | None = None, **_: Any) -> Any:
                raise KeyboardInterrupt

        class NoCapsule(Old):
            def __dlpack__(self, stream: int | None = None, **_: Any) -> Any:
                return 3

        with pytest.raises(KeyboardInterrupt):
            emulated.describe(Interrupted(None))
        with pytest.raises(TypeError, match=r"array: expected a DLPack capsule of .*NoCapsule, got int"):
            emulated.describe(NoCapsule(None))


class TestLifetime:
    def test_a_call_keeps_nothing(self, emulated: Any) -> None:
        arrays = layer_norm_arguments()
        before = [sys.getrefcount(array) for array in arrays]
        for _ in range(5):
            emulated.layer_norm(*arrays, eps=1e-6)
            with pytest.raises(ValueError, match="eps"):
                emulated.layer_norm(*arrays, eps=-1.0)
        assert [sys.getrefcount(array) for array in arrays] == before

    def test_torch_storage_is_given_back(self, emulated: Any) -> None:
        memory = np.zeros(5, np.float32)
        before = sys.getrefcount(memory)
        tensor = torch.from_numpy(memory)
        assert sys.getrefcount(memory) == before + 1
        emulated.describe(tensor)
        emulated.describe(Old(tensor))
        del tensor
        assert sys.getrefcount(memory) == before

    def test_exported_array_outlives_its_owner(self, emulated: Any) -> None:
        host = np.arange(1000, dtype=np.float32)
        for export in (torch.from_dlpack, np.from_dlpack):
            array = emulated.DeviceArray.from_host(host)
            view = export(array)
            del array
            gc.collect()
            np.testing.assert_array_equal(np.asarray(view), host)

    def test_capsule_that_nobody_takes(self, emulated: Any) -> None:
        array = emulated.DeviceArray.from_host(np.ones(4, np.float32))
        for max_version in (None, (1, 0)):
            capsule = array.__dlpack__(max_version=max_version)
            assert ("dltensor_versioned" if max_version else "dltensor") in repr(capsule)
            del capsule
        np.testing.assert_array_equal(array.to_host(), 1.0)


class TestDeviceArray:
    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i4", "i8", "?"])
    @pytest.mark.parametrize(
        "view",
        [
            lambda a: a,
            lambda a: a.transpose(0, 3, 1, 2),
            lambda a: a[:, ::-1, ::2],
            lambda a: a[:0],
            lambda a: a[0, 0, 0, 0, ...],
        ],
        ids=["c-order", "channels-last", "gaps", "empty", "scalar"],
    )
    def test_round_trip(self, emulated: Any, dtype: str, view: Any) -> None:
        host = view(np.random.default_rng(0).integers(0, 100, (2, 3, 4, 5)).astype(dtype))
        array = emulated.DeviceArray.from_host(host)
        assert array.shape == host.shape
        assert array.nbytes == host.nbytes
        back = array.to_host()
        assert back.dtype == host.dtype
        np.testing.assert_array_equal(back, host)

    def test_keeps_the_order_of_axes(self, emulated: Any) -> None:
        array = emulated.DeviceArray.from_host(np.zeros((2, 3, 4, 5), np.float16).transpose(0, 3, 1, 2))
        assert array.shape == (2, 5, 3, 4)
        assert array.strides == (60, 1, 20, 5)
        assert array.to_host().strides == (120, 2, 40, 10)

    def test_bfloat16(self, emulated: Any) -> None:
        tensor = torch.randn(3, 4).bfloat16()
        bits = tensor.view(torch.uint16).numpy()
        array = emulated.DeviceArray.from_host(bits, dtype="bfloat16")
        assert array.dtype == "bfloat16"
        assert torch.equal(torch.from_dlpack(array), tensor)
        np.testing.assert_array_equal(array.to_host(), bits)
        assert not hasattr(array, "__cuda_array_interface__")

    def test_empty(self, emulated: Any) -> None:
        array = emulated.DeviceArray.empty((2, 8, 3, 5), "float16", memory_order=(0, 2, 3, 1))
        assert (array.shape, array.strides, array.dtype) == ((2, 8, 3, 5), (120, 1, 40, 8), "float16")
        assert repr(array) == "DeviceArray((2, 8, 3, 5), float16)"
        assert array.device == 0
        assert torch.from_dlpack(array).is_contiguous(memory_format=torch.channels_last)

    def test_interface(self, emulated: Any) -> None:
        array = emulated.DeviceArray.empty((2, 3), "float32", stream=7)
        fields = array.__cuda_array_interface__
        address = torch.from_dlpack(array).data_ptr()
        assert fields == {
            "version": 3,
            "shape": (2, 3),
            "typestr": "<f4",
            "data": (address, False),
            "strides": (12, 4),
            "stream": 7,
        }
        assert emulated.DeviceArray.empty((1,), "int8").__cuda_array_interface__["stream"] == 1

    def test_stream_is_that_of_the_last_writer(self, emulated: Any) -> None:
        x, weight, bias, _ = layer_norm_arguments()
        out = emulated.DeviceArray.empty(x.shape, "float16", memory_order=(0, 2, 3, 1))
        assert out.stream == 0
        emulated.layer_norm(x, weight, bias, out, eps=1e-6, stream=5)
        assert out.stream == 5

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (((2, -1), "int8"), ValueError, "shape: expected numbers >= 0, got (2, -1)"),
            (((1,) * 7, "int8"), ValueError, "shape: expected at most 6 axes, got (1, 1, 1, 1, 1, 1, 1)"),
            (
                ((2,), "complex64"),
                ValueError,
                f"dtype: expected one of {', '.join(DTYPES)}, got complex64",
            ),
        ],
    )
    def test_messages_of_empty(self, emulated: Any, arguments: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error) as caught:
            emulated.DeviceArray.empty(*arguments)
        assert str(caught.value) == message

    @pytest.mark.parametrize("order", [(0,), (0, 0), (1, 2), (0, 1, 2)])
    def test_memory_order(self, emulated: Any, order: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="memory_order: expected each axis of the shape once, got"):
            emulated.DeviceArray.empty((2, 3), "int8", memory_order=order)

    def test_messages_of_from_host(self, emulated: Any) -> None:
        with pytest.raises(TypeError, match="array: expected dtype uint16, got float32"):
            emulated.DeviceArray.from_host(np.zeros(3, np.float32), dtype="bfloat16")
        with pytest.raises(TypeError, match="array: expected a dtype that DeviceArray has, got complex64"):
            emulated.DeviceArray.from_host(np.zeros(3, np.complex64))

    def test_export_that_is_not_offered(self, emulated: Any) -> None:
        array = emulated.DeviceArray.empty((2,), "int8")
        with pytest.raises(BufferError, match="dl_device: expected the device of the array, got another one"):
            array.__dlpack__(dl_device=(2, 0))
        with pytest.raises(BufferError, match="copy: expected False or None, got True"):
            array.__dlpack__(copy=True)
        assert array.__dlpack__(dl_device=(1, 0), copy=False, stream=-1) is not None


class TestCalls:
    @pytest.mark.parametrize("wrap", [lambda array: array, Interface, torch.from_numpy])
    def test_any_library(self, emulated: Any, wrap: Any) -> None:
        x, weight, bias, out = layer_norm_arguments()
        emulated.layer_norm(x, weight, bias, out, eps=1e-6)
        again = np.zeros_like(out)
        emulated.layer_norm(wrap(x), wrap(weight), wrap(bias), wrap(again), eps=1e-6)
        np.testing.assert_array_equal(again, out)

    def test_read_only(self, emulated: Any) -> None:
        x, weight, bias, out = layer_norm_arguments()
        x.flags.writeable = False
        emulated.layer_norm(x, weight, bias, out, eps=1e-6)
        for read_only in (x, Interface(x)):
            with pytest.raises(ValueError, match="out: expected a writable array, got a read-only one"):
                emulated.layer_norm(x, weight, bias, read_only, eps=1e-6)

    def test_devices_must_agree(self, emulated: Any) -> None:
        class OnDeviceOne(Old):
            def __dlpack_device__(self) -> tuple[int, int]:
                return (1, 1)

        x, weight, bias, out = layer_norm_arguments()
        with pytest.raises(ValueError, match="bias: expected an array on device 0 as the others, got device 1"):
            emulated.layer_norm(x, weight, OnDeviceOne(torch.from_numpy(bias)), out, eps=1e-6)

    def test_trace(self, emulated: Any) -> None:
        x, weight, bias, out = layer_norm_arguments()
        emulated.begin_trace()
        emulated.layer_norm(x, weight, bias, out, eps=1e-6)
        (launch,) = emulated.end_trace()
        row = next(row for row in emulated.kernels() if row["name"] == launch["name"])
        assert launch["block"] == (row["threads"], 1, 1)
        assert len(launch["grid"]) == 3
        assert x.__array_interface__["data"][0].to_bytes(8, sys.byteorder) in launch["arguments"]
        assert emulated.end_trace() == []

    def test_kernels(self, emulated: Any) -> None:
        rows = emulated.kernels()
        assert len({row["name"] for row in rows}) == len(rows) > 0
        for row in rows:
            assert row["name"].endswith("__sm80"), row
            assert f"_{row['op']}_" in row["name"], row
            assert row["threads"] % 32 == 0, row

    def test_every_op_has_a_function(self, emulated: Any) -> None:
        for op in {row["op"] for row in emulated.kernels()}:
            assert callable(getattr(emulated, "upsample_add" if op == "resize" else op)), op

    def test_devices(self, emulated: Any) -> None:
        assert emulated.device_count() == 1
        assert emulated.driver_error() is None
        assert emulated.device_name() == "CPU emulation"

    def test_gil_is_released(self, emulated: Any) -> None:
        """Another Python thread gets to run during a call."""
        x = np.zeros((1, 64, 64, 256), np.float16).transpose(0, 3, 1, 2)
        weight, out = np.ones(256, np.float32), np.empty_like(x)
        done, ticks = threading.Event(), 0

        def call() -> None:
            emulated.layer_norm(x, weight, weight, out, eps=1e-6)
            done.set()

        worker = threading.Thread(target=call)
        worker.start()
        while not done.wait(0.001):
            ticks += 1
        worker.join()
        assert ticks > 3
