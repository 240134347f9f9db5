"""Out of memory, from Python: a clear error, after which the model works.

csrc/tests/test_out_of_memory.cpp refuses single allocations. Here the limit is that of the process's addresses, which
the system checks whenever it is asked for memory.
"""

from __future__ import annotations

import sys

import pytest

from tests.faults.programs import succeeds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them")

LIMITED = """
import contextlib, resource

@contextlib.contextmanager
def only(mib):
    "So much more memory than there is now."
    used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (mib << 20), resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def error_of(call):
    try:
        call()
    except Exception as error:
        return error
    return None
"""


def test_while_loading() -> None:
    """At any size of what is left; once there is enough, the model is the same as ever."""
    out = succeeds(
        LIMITED
        + """
expected = answer(evsam.load("nano", threads=2))
kinds = []
for mib in (0, 1, 4, 12, 24, 400):
    with only(mib):
        error = error_of(lambda: evsam.load("nano", threads=2))
    kinds.append(error is None)
    assert error is None or isinstance(error, (MemoryError, evsam.WeightsError)), repr(error)
    assert error is None or "memory" in str(error).lower() or "allocate" in str(error).lower(), repr(error)
assert kinds[-1] and not kinds[0], kinds
assert same(answer(evsam.load("nano", threads=2)), expected)
print("done")
"""
    )
    assert out == "done\n"


def test_while_encoding() -> None:
    out = succeeds(
        LIMITED
        + """
expected = answer(evsam.load("nano", threads=2))
sam = evsam.load("nano", threads=2)  # which has no memory for an encoding yet
with only(2):
    first = error_of(lambda: sam.encode(image))
assert isinstance(first, MemoryError), repr(first)
assert str(first) == "memory: expected enough for this call, got none from the system", str(first)
assert same(answer(sam), expected)

large = np.zeros((6000, 6000, 3), np.uint8)
batch = [large[i:] for i in range(40)]  # their features together
with only(90):
    error = error_of(lambda: sam.encode(batch))
assert isinstance(error, MemoryError), repr(error)
del batch
assert same(answer(sam), expected)
print("done")
"""
    )
    assert out == "done\n"


def test_while_predicting_segmenting_and_tracking() -> None:
    out = succeeds(
        LIMITED
        + """
sam = evsam.load("nano", threads=2)
embedding = sam.encode(image)
expected = answer(sam)
boxes = np.tile(np.float32(BOX), (400, 1))  # 100 MiB of logits
with only(40):
    error = error_of(lambda: sam.predict(embedding, boxes=boxes))
assert isinstance(error, evsam.PromptError), repr(error)
assert "prompts: expected as many as memory holds, got 400 on an image of 320 x 240 pixels" in str(error)
assert same(answer(sam), expected)

whole = sam.segment_everything(embedding, points_per_side=8)
fresh = evsam.load("nano", threads=2)
with only(2):
    error = error_of(lambda: fresh.segment_everything(embedding, points_per_side=8))
assert isinstance(error, MemoryError), repr(error)
assert fresh.segment_everything(embedding, points_per_side=8).to_coco() == whole.to_coco()

tracker = sam.track(image, box=BOX)
tracker.step(image)
with only(0):
    error_of(lambda: tracker.step(np.ascontiguousarray(image[::-1])))
assert tracker.ids == (1,)
assert tracker.step(image)[1].mask.any()
print("done")
"""
    )
    assert out == "done\n"
