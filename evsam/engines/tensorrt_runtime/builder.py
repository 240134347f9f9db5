"""Building plans from ONNX models, and the folders of the cache that keep them for other processes too."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evsam.engines.tensorrt_runtime.cuda import Device
from evsam.engines.tensorrt_runtime.facts import BuildOptions, Profile
from evsam.engines.tensorrt_runtime.library import Library, joined
from evsam.errors import BackendUnavailable, EvsamError
from evsam.export.folder import write_folder
from evsam.writing import replaced, replaced_folder

logger = logging.getLogger("evsam.tensorrt")


def strip_functions(model: bytes) -> bytes:
    """An ONNX model without the bodies of its functions.

    TensorRT's parser would take the bodies of evsam's operators instead of the plugins for them.

    Raises:
        EvsamError: it is no model.
        BackendUnavailable: the package onnx is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise BackendUnavailable("export: TensorRT needs onnx; use pip install 'evsam[tensorrt]'") from error
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's, which has no type information
        raise EvsamError(f"model: expected an ONNX model, got other bytes: {error}") from error
    if not proto.functions:
        return model
    del proto.functions[:]
    return bytes(proto.SerializeToString())


def build_plan(
    library: Library,
    device: Device,
    model: bytes,
    profiles: Sequence[Profile],
    *,
    label: str = "model",
    options: BuildOptions | None = None,
    timing_cache: Path | None = None,
) -> bytes:
    """Compile an ONNX model for a device; takes minutes, and the GPU must be idle for good timings.

    Args:
        library: TensorRT; plugins that the model uses must have been registered.
        device: must be the current one.
        model: ONNX, float32 inputs and outputs; the types inside are kept as they are.
        profiles: of the inputs with shapes that vary, one after the other.
        label: what to call the model in errors.
        options: settings, None for the default ones.
        timing_cache: file with measurements of earlier builds, which this one uses and adds to.

    Returns:
        The plan.

    Raises:
        EvsamError: TensorRT cannot parse or build it; the message has all that TensorRT says.
        BackendUnavailable: the package onnx is missing.
    """
    options = options or BuildOptions()
    trt = library.trt
    with library.errors() as errors:
        builder = trt.Builder(library.logger)
        network = builder.create_network(_network_flags(trt))
        parser = trt.OnnxParser(network, library.logger)  # owns the weights: it must live until the end of the build
        if not parser.parse(strip_functions(model)):
            problems = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
            raise EvsamError(
                f"{label}: expected an ONNX model that TensorRT {library.version} can parse, got: "
                f"{joined(problems or errors)}"
            )
        config = _configure(trt, builder, options)
        for shapes in profiles:
            _add_profile(builder, network, config, shapes, label)
        cache = _use_timing_cache(config, timing_cache)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EvsamError(
                f"{label}: expected an ONNX model that TensorRT {library.version} can build for {device.name}, got: "
                f"{joined(errors)}"
            )
        if cache is not None and timing_cache is not None:
            _store_timing_cache(config, timing_cache)
        return bytes(plan)


def _network_flags(trt: Any) -> int:
    """Strong typing, without which TensorRT 10 would choose types itself. Version 11 knows nothing else."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _configure(trt: Any, builder: Any, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.level is not None:
        config.builder_optimization_level = options.level
    if not options.tf32 and hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # which is set otherwise
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    return config


def _add_profile(builder: Any, network: Any, config: Any, shapes: Profile, label: str) -> None:
    inputs = {tensor.name: tuple(tensor.shape) for tensor in map(network.get_input, range(network.num_inputs))}
    varying = {name for name, shape in inputs.items() if min(shape, default=0) < 0}
    if missing := varying.difference(shapes):
        raise EvsamError(
            f"profiles: expected shapes of all inputs of {label} that vary, got none for {sorted(missing)}"
        )
    if unknown := sorted(set(shapes).difference(inputs)):
        raise EvsamError(f"profiles: expected inputs of {label}, {', '.join(inputs)}, got {', '.join(unknown)}")
    profile = builder.create_optimization_profile()
    for name, (smallest, optimal, largest) in shapes.items():
        for shape in (smallest, optimal, largest):
            fixed = inputs[name]
            if len(shape) != len(fixed) or any(a not in (-1, b) for a, b in zip(fixed, shape, strict=True)):
                raise EvsamError(f"profiles: expected shapes like {fixed} for {name} of {label}, got {shape}")
        profile.set_shape(name, smallest, optimal, largest)
    if not profile or config.add_optimization_profile(profile) < 0:
        raise EvsamError(f"profiles: expected shapes that TensorRT takes for {label}, got {shapes}")


def _use_timing_cache(config: Any, path: Path | None) -> Any:
    if path is None:
        return None
    try:
        stored = path.read_bytes()
    except OSError:
        stored = b""
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, False):
        logger.info("timing cache %s is of another GPU or version: a new one takes its place", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _store_timing_cache(config: Any, path: Path) -> None:
    try:
        with replaced(path) as temporary:
            temporary.write_bytes(bytes(config.get_timing_cache().serialize()))
    except OSError as error:
        logger.warning("timing cache %s cannot be written: %s", path, str(error))


def _parser_error(error: Any) -> str:
    node = error.node_name() or f"number {error.node()}"
    return f"{error.desc()} (node {node}, operator {error.node_operator()})"


def install_folder(path: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Put a folder in its place as a whole; one that is there goes.

    Args:
        path: of the folder.
        files: content by part.
        manifest: of :func:`evsam.export.folder.make_manifest`.

    Raises:
        OSError: the cache cannot be written to.
    """
    with replaced_folder(path) as new:
        write_folder(new, files, manifest)
