"""Turns the plugin nodes of an exported model into nodes of the quick plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evsam.export.quick_plugins.plugins import (
    SHARED_BYTES,
    FusedMBConv,
    ReluLinearAttention,
    UpsampleAdd,
    UpsampleAddTwo,
)
from evsam.export.quick_plugins.registration import NAMESPACE, QUICK_PLUGINS

if TYPE_CHECKING:
    import onnx

    from evsam.export.options import ExportPrecision

__all__ = ["retarget"]

_DOMAIN = "evsam"


def retarget(
    model: onnx.ModelProto, *, precision: ExportPrecision, shared_limit: int = SHARED_BYTES
) -> tuple[str, ...]:
    """Makes TensorRT's parser take the quick plugins for the nodes that they can do; changes the model.

    Such a node gets the attributes ``plugin_namespace`` and ``aot``, and its function body goes, which the parser would
    prefer. A node whose kernel needs too much shared memory keeps its body, under an op type of its own; the parser
    expands it. Nodes of other plugins stay what they are.

    Args:
        model: of :mod:`evsam.export.onnx`, with plugins of :data:`QUICK_PLUGINS`.
        precision: with which it was exported.
        shared_limit: as given to :func:`register`.

    Returns:
        Names of the nodes that keep their body.
    """
    from onnx import helper

    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    functions = {(f.name, f.overload): f for f in model.functions if f.domain == _DOMAIN}
    kept: dict[tuple[str, str], str] = {}
    left = []
    for node in model.graph.node:
        if node.domain != _DOMAIN or node.op_type not in QUICK_PLUGINS:
            continue
        if _shared_bytes(node, sizes, precision, shared_limit) > shared_limit:
            body = node.op_type, node.overload
            node.op_type = kept.setdefault(body, f"{node.op_type}Plain{len(kept)}")
            node.overload = ""
            left.append(node.name)
            continue
        if node.op_type == UpsampleAdd.name and len(node.input) == len(UpsampleAddTwo.inputs):
            node.op_type = UpsampleAddTwo.name
        node.overload = ""
        node.attribute.extend([helper.make_attribute("plugin_namespace", NAMESPACE), helper.make_attribute("aot", 1)])
    for body, name in kept.items():
        functions[body].name, functions[body].overload = name, ""
    bodies = [f for f in model.functions if f.domain != _DOMAIN or f.name not in QUICK_PLUGINS]
    del model.functions[:]
    model.functions.extend(bodies)
    return tuple(left)


def _shared_bytes(node: Any, sizes: dict[str, tuple[int, ...]], precision: ExportPrecision, limit: int) -> int:
    """Shared memory of a block for a node, as little as is possible where it is beyond the limit."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == FusedMBConv.name:
        in_channels = sizes[node.input[1]][-1]
        outputs = sizes[node.input[3]][0]
        return FusedMBConv.placement(in_channels, outputs, attributes["stride"], limit)[2]
    if node.op_type == ReluLinearAttention.name:
        return ReluLinearAttention.shared_bytes(attributes["head_dim"], 2 if precision == "fp16" else 4)
    return 0
