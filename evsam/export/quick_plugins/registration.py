"""Registers the plugins with TensorRT."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.errors import BackendUnavailable
from evsam.export.quick_plugins.plugins import (
    SHARED_BYTES,
    Attribute,
    Call,
    FusedMBConv,
    LayerNorm2d,
    QuickPlugin,
    ReluLinearAttention,
    UpsampleAdd,
    UpsampleAddTwo,
)
from evsam.export.quick_plugins.ptx import find_ptx, kernel_ptx

__all__ = ["NAMESPACE", "QUICK_PLUGINS", "register"]

NAMESPACE = "evsam"
"""Of the plugins: TensorRT reserves the empty one, which evsam's plugin library uses."""

_PLUGINS: tuple[QuickPlugin, ...] = (
    LayerNorm2d(),
    UpsampleAdd(),
    UpsampleAddTwo(),
    ReluLinearAttention(),
    FusedMBConv(),
)

QUICK_PLUGINS = frozenset(plugin.name for plugin in _PLUGINS) - {UpsampleAddTwo.name}
"""Op types of the nodes that these plugins are for, as :class:`evsam.export.options.ExportOptions` takes them."""

# Fields of the type that TensorRT's ONNX parser makes of an attribute. Of a plain int or float TensorRT's own Python
# code calls int() on an array of one element, which NumPy 2.4 refuses.
_ANNOTATIONS: dict[type, Any] = {int: npt.NDArray[np.int32], float: npt.NDArray[np.float32], str: str}


def register(*, ptx: Path | None = None, shared_limit: int = SHARED_BYTES) -> None:
    """Registers evsam's plugins under the namespace ``evsam``, once in a process, for engines that are built after it.

    Args:
        ptx: folder of the PTX; None for what was built with this installation.
        shared_limit: shared memory that a block may have, in bytes. More than the default needs a TensorRT that asks
            the driver for it.

    Raises:
        BackendUnavailable: there is no TensorRT with such plugins, or no PTX.
    """
    tensorrt = _import_tensorrt()
    files = [find_ptx(plugin.file, ptx) for plugin in _PLUGINS]  # all of them before anything is registered
    for plugin, file in zip(_PLUGINS, files, strict=True):
        _register(plugin, tensorrt, file, shared_limit)


def _import_tensorrt() -> ModuleType:
    try:
        import tensorrt
        import tensorrt.plugin
    except ImportError as error:
        raise BackendUnavailable(
            "quick plugins: expected TensorRT 10.9 or later (pip install 'evsam[tensorrt]'), got none"
        ) from error
    if not hasattr(tensorrt.plugin, "KernelLaunchParams"):
        raise BackendUnavailable(
            f"quick plugins: expected TensorRT 10.9 or later, whose plugins may bring PTX, got {tensorrt.__version__}"
        )
    module: ModuleType = tensorrt
    return module


def _register(plugin: QuickPlugin, tensorrt: ModuleType, ptx: Path, shared_limit: int) -> None:
    trtp: Any = tensorrt.plugin

    def call_of(bound: dict[str, Any]) -> Call:
        inputs = {name: bound[name] for name in plugin.inputs}
        attributes = {name: _value(bound[name], kind) for name, kind in plugin.attributes.items()}
        return Call(tensorrt, inputs, attributes, shared_limit)

    def describe(bound: dict[str, Any]) -> Any:
        return plugin.output(call_of(bound))

    def autotune(bound: dict[str, Any]) -> Any:
        return [trtp.AutoTuneCombination(types, layouts) for types, layouts in plugin.formats(call_of(bound))]

    def compiled(bound: dict[str, Any]) -> Any:
        kernel = plugin.kernel(call_of(bound), bound["outputs"][0])
        launch = trtp.KernelLaunchParams()
        for axis, blocks in zip("xyz", kernel.grid, strict=False):
            setattr(launch, f"grid_{axis}", blocks)
        launch.block_x = kernel.threads
        launch.shared_mem = kernel.shared_bytes
        arguments = trtp.SymIntExprs(len(kernel.arguments))
        for index, argument in enumerate(kernel.arguments):
            arguments[index] = trtp.SymInt32(argument)
        return kernel.name, kernel_ptx(ptx.read_text(encoding="utf-8"), kernel.name), launch, arguments

    names: dict[str, Any] = dict.fromkeys(plugin.inputs, trtp.TensorDesc)
    names |= {name: _ANNOTATIONS[kind] for name, kind in plugin.attributes.items()}
    outputs = {"outputs": GenericAlias(tuple, (trtp.TensorDesc,))}
    launched = GenericAlias(tuple, (str, str, trtp.KernelLaunchParams, trtp.SymIntExprs))
    identifier = f"{NAMESPACE}::{plugin.name}"
    trtp.register(identifier)(_with_signature(describe, names, trtp.TensorDesc))
    offered = GenericAlias(list, (trtp.AutoTuneCombination,))
    trtp.autotune(identifier)(_with_signature(autotune, {**names, **outputs}, offered))
    trtp.aot_impl(identifier)(_with_signature(compiled, {**names, **outputs, "tactic": int}, launched))


def _with_signature(function: Callable[[dict[str, Any]], Any], parameters: dict[str, Any], result: Any) -> Any:
    """A function with named and annotated parameters, by which TensorRT knows inputs from attributes."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [inspect.Parameter(name, kind, annotation=annotation) for name, annotation in parameters.items()],
        return_annotation=result,
    )

    def named(*values: Any, **by_name: Any) -> Any:
        return function(dict(signature.bind(*values, **by_name).arguments))

    named.__signature__ = signature  # type: ignore[attr-defined]
    return named


def _value(field: Any, kind: type[int | float | str]) -> Attribute:
    """An attribute as Python has it. TensorRT's ONNX parser ends texts with a zero byte."""
    if kind is str:
        return str(field).rstrip("\0")
    return kind(np.asarray(field).reshape(-1)[0])
