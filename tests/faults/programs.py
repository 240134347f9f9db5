"""Programs in processes of their own, which the tests of faults starve, stop, fork and end."""

from __future__ import annotations

import os
import subprocess
import sys

BEGIN = """
import os, sys, threading, time
import numpy as np
import evsam

y, x = np.mgrid[:240, :320]
image = np.stack([x % 256, y, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)], -1).astype(np.uint8)
image[60:180, 80:220] = (200, 40, 60)
BOX = (70, 50, 230, 190)

def answer(sam):
    return sam.predict(sam.encode(image), box=BOX)

def same(a, b):
    return np.array_equal(a.masks, b.masks) and np.array_equal(a.logits, b.logits)
"""
"""What the programs share: a picture with a rectangle, and what a model says about it."""


def python(code: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program behind :data:`BEGIN`; nothing is said about how it ends."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, **environment},
    )


def succeeds(code: str, timeout: float = 120, **environment: str) -> str:
    """What a program prints, which must end well and without a word on standard error."""
    done = python(code, timeout, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout
