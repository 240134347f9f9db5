"""Model repositories for NVIDIA Triton Inference Server: encoder and decoder with their configurations."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from evsam.errors import EvsamError
from evsam.export.folder import PARTS, ExportFolder
from evsam.export.options import ExportOptions, Interface, Tensor, decoder_interface, encoder_interface
from evsam.writing import replaced_together

BACKENDS = {"onnx": ("onnxruntime", "model.onnx"), "tensorrt": ("tensorrt", "model.plan")}
"""Triton's backend, and how it calls the file, by the kind of export."""

QUEUE_MICROSECONDS = 2000
"""How long an image waits for others to be encoded with it."""


def export_triton(
    folder: ExportFolder,
    repository: str | os.PathLike[str],
    max_batch: int = 8,
    plugin_library: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a model repository.

    Args:
        folder: an exported model, as ONNX or as TensorRT plans.
        repository: folder to write to; made if it is missing. The models, ``evsam_<variant>_encoder`` and
            ``evsam_<variant>_decoder``, are in its folder ``models``, beside a README.
        max_batch: images that are encoded together at most; no more than plans were built for.
        plugin_library: of TensorRT plans with evsam's plugins, which goes into the folder ``plugins``.

    Returns:
        The folder.

    Raises:
        EvsamError: plans with plugins without their library, or a folder that is damaged.
        OSError: the repository cannot be written to.
    """
    root = Path(repository)
    backend, file = BACKENDS[folder.kind]
    with_plugins = folder.kind == "tensorrt" and folder.manifest["flavour"] == "plugins"
    if with_plugins and plugin_library is None:
        raise EvsamError("plugin_library: expected the library that the plans were built with, got None")
    options = ExportOptions(
        masks=folder.manifest.get("masks", "all"), image_size_masks=folder.manifest.get("image_size_masks", False)
    )
    interfaces = {
        "encoder": encoder_interface(folder.variant),
        "decoder": decoder_interface(folder.variant, options),
    }
    names = {part: f"evsam_{folder.variant.name}_{part}" for part in PARTS}
    contents = {}
    for part in PARTS:
        model = root / "models" / names[part]
        contents[model / "1" / file] = folder.read(part)
        text = _config(names[part], backend, interfaces[part], max_batch if part == "encoder" else 0)
        contents[model / "config.pbtxt"] = text.encode()
    library = None
    if with_plugins and plugin_library is not None:
        library = root / "plugins" / Path(plugin_library).name
        contents[library] = Path(plugin_library).read_bytes()
    contents[root / "README.md"] = _readme(folder, names, library, interfaces).encode()
    with replaced_together(list(contents)) as temporaries:
        for temporary, content in zip(temporaries, contents.values(), strict=True):
            temporary.write_bytes(content)
    return root


def _config(name: str, backend: str, interface: Interface, max_batch: int) -> str:
    """Text of ``config.pbtxt``; with a batch, Triton adds its axis itself."""
    if max_batch:
        interface = Interface(
            tuple(map(_without_batch, interface.inputs)), tuple(map(_without_batch, interface.outputs))
        )
    parts = [
        f'name: "{name}"',
        f'backend: "{backend}"',
        f"max_batch_size: {max_batch}",
        _tensors("input", interface.inputs),
        _tensors("output", interface.outputs),
    ]
    if max_batch > 1:
        parts.append(f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_MICROSECONDS} }}")
    return "\n".join(parts) + "\n"


def _without_batch(tensor: Tensor) -> Tensor:
    return replace(tensor, shape=tensor.shape[1:])


def _tensors(kind: str, tensors: Iterable[Tensor]) -> str:
    entries = []
    for tensor in tensors:
        dims = ", ".join(str(length if isinstance(length, int) else -1) for length in tensor.shape)
        entries.append(f'  {{\n    name: "{tensor.name}"\n    data_type: TYPE_FP32\n    dims: [ {dims} ]\n  }}')
    return f"{kind} [\n" + ",\n".join(entries) + "\n]"


def _readme(folder: ExportFolder, names: dict[str, str], library: Path | None, interfaces: dict[str, Interface]) -> str:
    manifest = folder.manifest
    plugins = f" --backend-config=tensorrt,plugins=/evsam/plugins/{library.name}" if library else ""
    lines = [
        f"# EfficientViT-SAM {folder.variant.name} for Triton",
        "",
        f"Written by evsam {manifest['evsam']}: {folder.kind}, {manifest['precision']}, {manifest['flavour']} flavour.",
        "",
        "Start the server, with this folder mounted as /evsam:",
        "",
        f"    tritonserver --model-repository=/evsam/models{plugins}",
        "",
    ]
    if folder.kind == "tensorrt":
        lines += ["The plans run on the GPU and with the TensorRT version that they were built with.", ""]
    lines += [
        "1. Resize the photo so that its longer side is that of the encoder's image, normalise (ImageNet mean and",
        "   standard deviation of RGB), pad with zeros at the bottom or right: `evsam.transforms.image_to_pixels`.",
        f"2. Send it to `{names['encoder']}`, and keep what comes back.",
        f"3. Send that with prompts to `{names['decoder']}`, as often as you like. Coordinates are pixels of a photo",
        "   whose longer side is 1024; clicks without a box need SAM's padding point behind them: (0, 0), label -1.",
        "4. `low_res_masks` above zero is the mask, at a quarter of the 1024 frame:",
        "   `evsam.transforms.masks_from_logits` brings it to the photo's size.",
        "",
        "All tensors are float32. Lengths with names vary.",
        "",
    ]
    for part in PARTS:
        lines += [f"## {names[part]}", "", "| | name | shape |", "|---|---|---|"]
        for kind, tensors in (("in", interfaces[part].inputs), ("out", interfaces[part].outputs)):
            lines += [f"| {kind} | `{t.name}` | {' x '.join(map(str, t.shape))} |" for t in tensors]
        lines.append("")
    return "\n".join(lines)
