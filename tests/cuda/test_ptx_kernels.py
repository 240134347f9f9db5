"""The PTX that nvcc emits for every kernel, interpreted on the buffers of the emulated launches: the same results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch has the arrays of these tests")

import torch

from benchmarks.gpu_model.budgets import load
from tests.cuda.cases import CASES, Call, Case
from tests.cuda.ptx import Memory, Module, PendingCopy, SharedRace, parse
from tests.cuda.ptx.replay import Launch, modules, recorded, replay
from tests.cuda.toolchain import CSRC, KERNEL_OPTIONS, PTX_ARCHITECTURES, compile_ptx, require_nvcc


@pytest.fixture
def module(emulated_module: ModuleType) -> Iterator[ModuleType]:
    yield emulated_module
    set_device(emulated_module, 108)


def set_device(module: ModuleType, multiprocessors: int) -> None:
    module.set_device(multiprocessors=multiprocessors, compute_capability=80, shared_bytes=99 * 1024)


def trace(module: ModuleType, call: Call, workspace: torch.Tensor | None, *, execute: bool) -> list[Launch]:
    """The launches of a call."""
    options = call.options if workspace is None else {**call.options, "workspace": workspace}
    module.begin_trace(execute)
    try:
        getattr(module, call.function)(**call.inputs, **call.outputs, **options)
    finally:
        launches = recorded(module.end_trace())
    return launches


def workspace_of(module: ModuleType, call: Call) -> torch.Tensor | None:
    """Exactly as many bytes as the call says that it needs, so that none beyond can be touched."""
    if not call.needs_workspace:
        return None
    tiny = torch.empty(1, dtype=torch.uint8)
    try:
        trace(module, call, tiny, execute=False)
    except ValueError as error:
        size = re.search(r"workspace: expected at least (\d+) bytes", str(error))
        if size is None:
            raise
        return torch.empty(int(size[1]), dtype=torch.uint8)
    return tiny


def octets(tensor: torch.Tensor) -> np.ndarray:
    """The bytes of a dense tensor, in the order of memory."""
    return torch.as_strided(tensor, (tensor.numel(),), (1,)).view(torch.uint8).numpy()


def clear(*written: torch.Tensor | None) -> None:
    """Sets all bits: NaN, where it is floating-point."""
    for tensor in written:
        if tensor is not None:
            octets(tensor)[:] = 0xFF


def in_memory(call: Call, workspace: torch.Tensor | None) -> Memory:
    memory = Memory()
    for name, tensor in call.inputs.items():
        if tensor is not None:
            memory.register(octets(tensor), writable=False, name=name)
    for name, tensor in [*call.outputs.items(), ("workspace", workspace)]:
        if tensor is not None:
            memory.register(octets(tensor), name=name)
    return memory


def assert_same(got: torch.Tensor, expected: torch.Tensor, *, rounds_inside: bool) -> None:
    """Equal up to one rounding of the result, and to roundings of what it is the sum of.

    The compiler fuses multiplications and additions where C++ rounds twice, and the interpreter's exponentials and
    reciprocals are rounded correctly where the emulation's are those of the C library. So intermediate float32 values
    differ in their last bits, which moves a result by a few of float32's eps times the largest value, and a 16-bit
    result now and then to its neighbour: seldom, hence the limit to their number.

    Where a kernel rounds inner values to float16 (`rounds_inside`), one of those becomes its neighbour just as seldom,
    and moves the results that depend on it. They are sums of many such values, so by less than one of float16's eps
    times the largest result.
    """
    if not got.is_floating_point():
        assert torch.equal(got, expected)
        return
    assert torch.equal(got.isnan(), expected.isnan())
    a, b = got.double().nan_to_num(0), expected.double().nan_to_num(0)
    limits = torch.finfo(got.dtype)
    ulp = torch.exp2(torch.maximum(a.abs(), b.abs()).clamp_min(limits.tiny).log2().floor()) * limits.eps
    largest = b.abs().max()
    slack = (limits.eps if rounds_inside else 4 * torch.finfo(torch.float32).eps) * largest
    apart = (a - b).abs()
    worst = f"{float((apart / ulp).max()):.3g} ulp, {float(apart.max() / largest):.3g} of the largest value"
    assert bool((apart <= torch.maximum(ulp, slack)).all()), worst
    if got.element_size() == 2:
        changed = float((apart > 0).double().mean())
        assert changed < (0.15 if rounds_inside else 0.02), f"{changed:.3g} of the values differ"


@dataclass
class Launched:
    """A call that the emulation has executed: its launches, and what it wrote."""

    call: Call
    workspace: torch.Tensor | None
    launches: list[Launch]
    expected: dict[str, torch.Tensor]
    source: dict[str, Path]
    """File of each kernel."""

    def check(self, ptx: dict[str, Module]) -> None:
        """Runs the same from the PTX of each kernel, and compares."""
        clear(*self.call.outputs.values(), self.workspace)
        replay(self.launches, ptx.__getitem__, in_memory(self.call, self.workspace))
        for name, tensor in self.call.outputs.items():
            assert_same(tensor, self.expected[name], rounds_inside=self.call.rounds_inside)


def launch(module: ModuleType, case: Case) -> Launched:
    require_nvcc()
    set_device(module, case.multiprocessors)
    call = case.make()
    workspace = workspace_of(module, call)
    clear(*call.outputs.values(), workspace)
    launches = trace(module, call, workspace, execute=True)
    files = {kernel["name"]: CSRC / "ops" / kernel["op"] / f"{kernel['op']}.cu" for kernel in module.kernels()}
    source = {one.name: files[one.name] for one in launches}
    return Launched(call, workspace, launches, {name: out.clone() for name, out in call.outputs.items()}, source)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ptx_computes_what_the_emulation_does(module: ModuleType, case: Case) -> None:
    launched = launch(module, case)
    done: set[frozenset[int]] = set()
    for architecture in PTX_ARCHITECTURES:
        ptx = {name: modules(source)[architecture] for name, source in launched.source.items()}
        instructions = frozenset(map(id, ptx.values()))
        if instructions not in done:  # else the same as for another architecture
            launched.check(ptx)
        done.add(instructions)


# What is taken from a kernel of the library, in its PTX, and how that shows.
MUTATIONS = {
    "barriers": (r"bar\.sync\s+0;", "", SharedRace),
    "waits": (r"cp\.async\.wait_group\s+\d+;", "", PendingCopy),
    "operands": (
        r"(mma\.sync[^;]*\{[^}]*\}\s*,\s*\{[^}]*\}\s*,\s*)\{([^},]*),([^},]*)\}",
        r"\1{\3,\2}",
        AssertionError,
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", ["pointwise_gelu", "conv3x3_gelu", "fused_mbconv_40", "mbconv_k3s1_40"])
def test_broken_ptx_is_reported(module: ModuleType, name: str, mutation: str) -> None:
    pattern, replacement, fault = MUTATIONS[mutation]
    launched = launch(module, next(case for case in CASES if case.name == name))
    kernel = launched.launches[-1].name
    whole = compile_ptx(launched.source[kernel], "compute_80", KERNEL_OPTIONS)
    text, count = re.subn(pattern, replacement, alone(whole, kernel))
    assert count
    ptx = {name: modules(source)["compute_80"] for name, source in launched.source.items()}
    with pytest.raises(fault):
        launched.check({**ptx, kernel: parse(text)})


def alone(text: str, kernel: str) -> str:
    """A PTX file with one of its kernels."""
    entries = re.split(r"(?=^\s*(?://[^\n]*\n\s*)?\.(?:visible|weak)\s+\.entry)", text, flags=re.M)
    return entries[0] + next(entry for entry in entries[1:] if re.search(rf"\.entry\s+{kernel}\(", entry))


def test_every_kernel_has_a_case(module: ModuleType) -> None:
    names = set()
    for case in CASES:
        set_device(module, case.multiprocessors)
        call = case.make()
        names |= {launch.name for launch in trace(module, call, workspace_of(module, call), execute=False)}
    assert names == {kernel["name"] for kernel in module.kernels()}


def test_launchers_stay_within_the_shared_memory_of_the_table(module):
    """Dynamic shared memory is the launcher's decision, and cannot be read from compiled code."""
    budgets = load()
    most: dict[str, int] = {}
    for case in CASES:
        set_device(module, case.multiprocessors)
        call = case.make()
        for launch in trace(module, call, workspace_of(module, call), execute=False):
            most[launch.name] = max(most.get(launch.name, 0), launch.shared_bytes)
    assert most
    assert {name: size for name, size in most.items() if size > budgets[name].dynamic_shared_bytes} == {}
    # A budget that no launch comes near to would make the occupancy look worse than it is.
    unused = {name for name, size in most.items() if size == 0 < budgets[name].dynamic_shared_bytes}
    assert unused == set()
