"""Inner loops come near to what the ports of processors allow, in llvm-mca's model."""

from __future__ import annotations

import pytest

from benchmarks.inner_loops import LOOPS, X86, Loop, MissingError, share_of_limit

LEAST = 0.9


def share(loop: Loop) -> float:
    try:
        return share_of_limit(loop)
    except MissingError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("loop", LOOPS, ids=str)
def test_products_fill_the_ports(loop: Loop) -> None:
    assert share(loop) >= LEAST


def test_loads_that_do_not_fit_show() -> None:
    source = """
    #include "isa/{isa}.h"
    using namespace evsam::{isa};
    void loop(const float* a, const float* b, long count, float* c) {{
      F32::Reg sum[8];
      for (int i = 0; i < 8; ++i) sum[i] = F32::load(c + i * F32::kLanes);
      for (long n = 0; n < count; n += 8 * F32::kLanes) {{
        for (int i = 0; i < 8; ++i) {{
          const long at = n + i * F32::kLanes;
          sum[i] = F32::fma(F32::load(a + at), F32::load(b + at), sum[i]);
        }}
      }}
      for (int i = 0; i < 8; ++i) F32::store(c + i * F32::kLanes, sum[i]);
    }}
    """
    assert share(Loop("two loads each", source, "avx2", "haswell", X86)) < 0.7
