"""CUDA graphs of shapes that come again."""

from __future__ import annotations

import numpy as np
import pytest

from evsam.engines.tensorrt import TensorRTEngine
from evsam.engines.tensorrt_runtime import execution
from tests.tensorrt.stand_in.world import World
from tests.tensorrt.test_engine import PROFILES, check_decoding, prompts


def launches(world: World) -> int:
    return world.calls.count("cudaGraphLaunch")


def test_the_third_call_is_launched(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=True)
    counts = []
    for _ in range(4):
        engine.encode([image])
        counts.append((world.calls.count("cudaStreamBeginCapture"), launches(world)))
    assert counts == [(0, 0), (1, 0), (1, 1), (1, 2)]
    engine.encode([image, image])
    assert (world.calls.count("cudaStreamBeginCapture"), launches(world)) == (1, 2), "another shape"
    engine.close()


def test_no_graphs_unless_asked_for(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES)
    for _ in range(4):
        engine.encode([image])
    assert "cudaStreamBeginCapture" not in world.calls
    engine.close()


def test_graphs_read_what_is_given(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=True)
    for shift in range(5):
        (features,) = engine.encode([np.roll(image, 7 * shift, 1)])
        points, labels, masks = prompts(2)
        check_decoding(engine, features, points * (shift + 1), labels, masks if shift % 2 else None)
    assert launches(world) > 2
    engine.close()


def test_shapes_between_two_launches(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=True)
    (features,) = engine.encode([image])
    for count in (1, 1, 1, 2, 1, 3, 2, 1, 2, 2, 1):
        check_decoding(engine, features, *prompts(count)[:2], None)
    assert launches(world) > 4
    engine.close()


def test_the_number_of_graphs_is_limited(world, small, weights, image, monkeypatch) -> None:
    monkeypatch.setattr(execution, "GRAPHS", 2)
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=True)
    (features,) = engine.encode([image])
    for _ in range(3):
        for length in (1, 2, 3, 4):
            check_decoding(engine, features, *prompts(1, length)[:2], None)
    assert len(world.executables) == 2
    engine.close()


def test_graphs_of_before_a_failure(world, small, weights, image) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=True)
    found = engine.encode([image])
    for _ in range(2):
        check_decoding(engine, found[0], *prompts(1)[:2], None)
    world.failing["cudaStreamEndCapture"] = 901
    for _ in range(2):
        check_decoding(engine, found[0], *prompts(2)[:2], None)
    world.failing.clear()
    found += engine.encode([np.roll(image, 9, 1)])
    for features in found:
        check_decoding(engine, features, *prompts(1)[:2], None)
    assert launches(world) == 2
    engine.close()


@pytest.mark.parametrize("call", ["cudaStreamEndCapture", "cudaGraphInstantiateWithFlags", "cudaStreamBeginCapture"])
def test_graphs_that_cannot_be_recorded(world, small, weights, image, quiet, call) -> None:
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=True)
    (features,) = engine.encode([image])
    world.failing[call] = 901
    for _ in range(4):
        check_decoding(engine, features, *prompts(2)[:2], None)
    assert f"no CUDA graphs, since recording one failed: {call}" in quiet.text
    assert launches(world) == 0
    world.failing.clear()
    engine.close()


def test_a_run_that_cannot_be_recorded(world, small, weights, image, quiet, monkeypatch) -> None:
    from tests.tensorrt.stand_in.tensorrt import Context, Severity

    enqueue = Context.execute_async_v3

    def refuse(self: Context, stream: int) -> bool:
        capture = world.stream(stream).capture
        if capture is not None:
            capture.invalid = True
            self.log(Severity.ERROR, "operation not permitted when stream is capturing")
            return False
        return enqueue(self, stream)

    monkeypatch.setattr(Context, "execute_async_v3", refuse)
    engine = TensorRTEngine(weights, 1, profiles=PROFILES, graphs=True)
    for _ in range(3):
        (features,) = engine.encode([image])
    assert "operation not permitted when stream is capturing" in quiet.text
    check_decoding(engine, features, *prompts(2))
    engine.close()
