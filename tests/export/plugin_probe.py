"""Which plugins does TensorRT's ONNX parser ask for, and with which fields?

A process of its own: `python plugin_probe.py FIELDS.json MODEL.onnx...`. It registers a creator for every name in
FIELDS.json, `{name: {field: type}}`, and parses the models. Every answer is a line of JSON on stdout, written at once:
when TensorRT for RTX, which has no plugins, is handed one, it aborts the process. The creators here therefore give it
none: the parser then says that it could not create the plugin, and the next model can be parsed.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

trt: Any = importlib.import_module("tensorrt_rtx")


def say(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def make_creator(name: str, fields: dict[str, str]) -> Any:
    """A creator of version 1 in the empty namespace, that says what it is asked for."""

    def __init__(self: Any) -> None:
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_version, self.plugin_namespace = name, "1", ""
        kinds = trt.PluginFieldType
        declared = [trt.PluginField(field, np.array([]), getattr(kinds, kind)) for field, kind in fields.items()]
        self.field_names = trt.PluginFieldCollection(declared)

    def create_plugin(self: Any, node: str, given: Any, phase: Any) -> Any:
        values = {field.name: [field.type.name, value_of(field)] for field in given}
        say(created=name, node=node, fields=values, phase=phase.name)
        raise RuntimeError("asked for, that is enough")

    # not a class statement: the type of its base is unknown to mypy
    members = {"__init__": __init__, "create_plugin": create_plugin}
    return type(name, (trt.IPluginCreatorV3One,), members)()


def value_of(field: Any) -> Any:
    """Texts come with a zero byte behind them; it stays, as a plugin has to cope with it."""
    if field.type == trt.PluginFieldType.CHAR:
        return field.data.tobytes().decode()
    return field.data.tolist()


def main(fields: str, *models: str) -> None:
    registry = trt.get_plugin_registry()
    creators = [make_creator(name, kinds) for name, kinds in json.loads(Path(fields).read_text()).items()]
    for creator in creators:
        if not registry.register_creator(creator, ""):
            raise SystemExit(f"{creator.name}: expected a registry that takes it, got one that does not")
    logger = trt.Logger(trt.Logger.WARNING)
    for model in models:
        network = trt.Builder(logger).create_network(0)
        parser = trt.OnnxParser(network, logger)
        parsed = parser.parse(Path(model).read_bytes())
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        say(parsed=parsed, errors=[[error.node_operator(), error.desc()] for error in errors])


if __name__ == "__main__":
    main(*sys.argv[1:])
