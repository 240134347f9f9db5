"""Single PTX instructions in the interpreter against known answers, where their meaning is subtle.

The expected values are those of NVIDIA's PTX ISA document, by hand or by code that does not share the interpreter's.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.cuda.ptx import Memory, OutOfBounds, PartialWarp, PendingCopy, UnknownInstruction, parse, run

HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"
WORD = {"u32": np.uint32, "s32": np.int32, "f32": np.float32, "u64": np.uint64, "s64": np.int64, "f64": np.float64}


def execute(code: str, inputs: list[np.ndarray], outputs: int = 1, *, threads: int = 32, shared: int = 0) -> np.ndarray:
    """Runs `code` for each of `threads` threads: inputs are %a0, %a1, ... and outputs %d0, ..., as 32-bit registers.

    Returns:
        uint32 (outputs, threads).
    """
    results = np.full((outputs, threads), 0xDEADBEEF, np.uint32)
    memory = Memory()
    columns = [np.ascontiguousarray(np.broadcast_to(x.view(np.uint32), threads)) for x in inputs]
    addresses = [memory.register(x) for x in [*columns, *results]]
    names = [f"%a{i}" for i in range(len(inputs))] + [f"%d{i}" for i in range(outputs)]
    body = [
        ".extern .shared .align 16 .b8 memory[];",
        f".visible .entry f(.param .align 8 .b8 f_param_0[{8 * len(names)}])\n{{",
        ".reg .b64 %rd<4>; .reg .b32 %r<32>; .reg .b32 %a<9>; .reg .b32 %d<9>; .reg .b16 %h<9>; .reg .pred %p<9>;",
        ".reg .b64 %q<9>;",
        "mov.u32 %r0, %tid.x; mul.wide.u32 %rd0, %r0, 4;",
        *(
            f"ld.param.u64 %rd1, [f_param_0+{8 * i}]; add.s64 %rd1, %rd1, %rd0; ld.global.b32 {name}, [%rd1];"
            for i, name in enumerate(names)
        ),
        code,
        *(
            f"ld.param.u64 %rd1, [f_param_0+{8 * i}]; add.s64 %rd1, %rd1, %rd0; st.global.b32 [%rd1], {name};"
            for i, name in enumerate(names)
        ),
        "ret;\n}",
    ]
    module = parse(HEADER + "\n".join(body))
    run(module, "f", (1,), (threads,), shared, struct.pack(f"<{len(addresses)}Q", *addresses), memory)
    return results


def words(*values: int) -> np.ndarray:
    return np.array(values, np.int64).astype(np.uint32)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def evaluate(instruction: str, *inputs: np.ndarray) -> np.ndarray:
    """`instruction` on registers %d0, %a0, %a1, ...; one thread per element; uint32."""
    count = max(x.size for x in inputs)
    return execute(instruction, [np.broadcast_to(x, count).copy() for x in inputs], threads=count)[0]


def halves(values: np.ndarray, dtype: type = np.float16) -> np.ndarray:
    return np.ascontiguousarray(values).view(dtype).astype(np.float32).reshape(-1, 2)


class TestIntegers:
    @pytest.mark.parametrize(
        ("instruction", "a", "b", "expected"),
        [
            ("mul.hi.u32 %d0, %a0, %a1;", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE),
            ("mul.hi.s32 %d0, %a0, %a1;", -1, 2, 0xFFFFFFFF),
            ("mul.lo.s32 %d0, %a0, %a1;", -3, 7, -21),
            ("div.s32 %d0, %a0, %a1;", -7, 2, -3),
            ("rem.s32 %d0, %a0, %a1;", -7, 2, -1),
            ("div.u32 %d0, %a0, %a1;", -7, 2, 0x7FFFFFFC),
            ("shl.b32 %d0, %a0, %a1;", 1, 32, 0),
            ("shl.b32 %d0, %a0, %a1;", 1, 31, 1 << 31),
            ("shr.u32 %d0, %a0, %a1;", -1, 40, 0),
            ("shr.s32 %d0, %a0, %a1;", -4, 40, -1),
            ("shr.s32 %d0, %a0, %a1;", -4, 1, -2),
            ("min.s32 %d0, %a0, %a1;", -1, 1, -1),
            ("min.u32 %d0, %a0, %a1;", -1, 1, 1),
            ("shf.l.wrap.b32 %d0, %a0, %a1, 8;", 0x11223344, 0xAABBCCDD, 0xBBCCDD11),
            ("shf.r.wrap.b32 %d0, %a0, %a1, 40;", 0x11223344, 0xAABBCCDD, 0xDD112233),
            ("shf.r.clamp.b32 %d0, %a0, %a1, 40;", 0x11223344, 0xAABBCCDD, 0xAABBCCDD),
            ("prmt.b32 %d0, %a0, %a1, 0x5410;", 0x33221100, 0x77665544, 0x55441100),
            ("prmt.b32 %d0, %a0, %a1, 0x7632;", 0x33221100, 0x77665544, 0x77663322),
            # bytes 1, 0; the signs of bytes 2 and 1
            ("prmt.b32 %d0, %a0, 0, %a1;", 0x00FF8001, 0x9A01, 0xFFFF0180),
            ("bfe.u32 %d0, %a0, %a1, 8;", 0x12345678, 12, 0x45),
            ("bfe.s32 %d0, %a0, %a1, 4;", 0x00000F00, 8, -1),
            ("bfe.s32 %d0, %a0, %a1, 8;", 0x80000000, 28, -8),
            ("bfe.u32 %d0, %a0, %a1, 8;", 0x80000000, 28, 8),
            ("bfi.b32 %d0, %a0, %a1, 4, 8;", 0xFFAB, 0x12345678, 0x12345AB8),
            ("clz.b32 %d0, %a0; add.s32 %d0, %d0, %a1;", 1, 0, 31),
            ("clz.b32 %d0, %a0; add.s32 %d0, %d0, %a1;", 0, 0, 32),
            ("popc.b32 %d0, %a0; add.s32 %d0, %d0, %a1;", 0xF0F00001, 0, 9),
            ("brev.b32 %d0, %a0; add.s32 %d0, %d0, %a1;", 0x00000003, 0, 0xC0000000),
            ("bfind.u32 %d0, %a0; add.s32 %d0, %d0, %a1;", 0x00010000, 0, 16),
            ("dp4a.s32.s32 %d0, %a0, %a1, 10;", 0xFF02FE01, 0x01020304, -1 + 4 - 6 + 4 + 10),
            ("dp4a.u32.u32 %d0, %a0, %a1, 10;", 0xFF02FE01, 0x01020304, 255 + 4 + 762 + 4 + 10),
            ("mad.lo.s32 %d0, %a0, %a1, -5;", -3, 7, -26),
            ("lop3.b32 %d0, %a0, %a1, 0x0000FFFF, 0xE8;", 0x00FF00FF, 0x0F0F0F0F, 0x000F0FFF),
            ("lop3.b32 %d0, %a0, %a1, 0xFF0000FF, 0x96;", 0x00FF00FF, 0x0F0F0F0F, 0xF0F00F0F),
            ("lop3.b32 %d0, %a0, %a1, 0xFF0000FF, 0xF8;", 0x00FF00FF, 0x0F0F0F0F, 0x0FFF00FF),
            ("mul.wide.s32 %q0, %a0, %a1; mov.b64 {_, %d0}, %q0;", -1, 5, -1),
            ("mul.wide.u32 %q0, %a0, %a1; mov.b64 {_, %d0}, %q0;", -1, 5, 4),
            ("cvt.u64.u32 %q0, %a0; mul.hi.u64 %q0, %q0, -1; cvt.u32.u64 %d0, %q0; add.u32 %d0, %d0, %a1;", 9, 0, 8),
            ("cvt.s64.s32 %q0, %a0; mul.hi.s64 %q0, %q0, -1; cvt.u32.u64 %d0, %q0; add.u32 %d0, %d0, %a1;", 9, 0, -1),
            ("cvt.s32.s8 %d0, %a0; add.s32 %d0, %d0, %a1;", 0x1F0, 0, -16),
            ("cvt.sat.u8.s32 %d0, %a0; add.s32 %d0, %d0, %a1;", -5, 0, 0),
            ("cvt.sat.s8.s32 %d0, %a0; and.b32 %d0, %d0, %a1;", 300, 0xFF, 127),
        ],
    )
    def test_two_operands(self, instruction: str, a: int, b: int, expected: int) -> None:
        assert evaluate(instruction, words(a), words(b))[0] == words(expected)[0]

    def test_lop3_has_the_table_of_the_documentation(self) -> None:
        rng = np.random.default_rng(1)
        a, b, c = (rng.integers(0, 1 << 32, 7, dtype=np.uint32) for _ in range(3))
        # the table of a function is the function of the tables of a, b and c: 0xF0, 0xCC, 0xAA
        got = evaluate(f"lop3.b32 %d0, %a0, %a1, %a2, {0xF0 & 0xCC ^ ~0xAA & 0xFF};", a, b, c)
        np.testing.assert_array_equal(got, a & b ^ ~c)

    def test_comparison_joined_with_a_predicate(self) -> None:
        a, b = words(-1, 1, 5), words(1, 1, 1)
        code = "setp.gt.s32 %p0, %a0, 3; setp.lt.or.s32 %p1, %a0, %a1, %p0; selp.u32 %d0, 1, 0, %p1;"
        np.testing.assert_array_equal(evaluate(code, a, b), [1, 0, 1])
        code = "setp.gt.s32 %p0, %a0, 3; setp.lo.and.u32 %p1, %a1, %a0, !%p0; selp.u32 %d0, 1, 0, %p1;"
        np.testing.assert_array_equal(evaluate(code, a, b), [1, 0, 0])


class TestFloats:
    def test_fma_rounds_once(self) -> None:
        a = np.float32(1 + 2**-12)
        # a * a = 1 + 2**-11 + 2**-24: the last part is lost by a product that is rounded
        got = evaluate("fma.rn.f32 %d0, %a0, %a0, %a1;", floats(a), floats(-1 - 2**-11)).view(np.float32)
        assert got[0] == 2.0**-24

    @pytest.mark.parametrize(("c", "expected"), [(2.0**-60, 1 + 2**-23), (-(2.0**-60), 1.0), (0.0, 1.0)])
    def test_fma_does_not_round_twice(self, c: float, expected: float) -> None:
        # 97 * 172961 * 2**-24 = 1 + 2**-24 is a tie of float32, and 2**-60 is too small for float64 to add it
        got = evaluate("fma.rn.f32 %d0, %a0, %a1, %a2;", floats(97), floats(172961 * 2.0**-24), floats(c))
        assert got.view(np.float32)[0] == np.float32(expected)

    @pytest.mark.parametrize(("c", "expected"), [(2.0**-24, 2050), (-(2.0**-24), 2048), (0.0, 2048)])
    def test_fma_of_float16_does_not_round_twice(self, c: float, expected: int) -> None:
        # 3 * 683 = 2049 is a tie of float16, and 2**-24 is too small for float32 to add it
        x = np.array([3, 683, c, 0], np.float16).view(np.uint32)
        code = (
            "mov.b32 {%h0, %h1}, %a0; mov.b32 {%h2, %h3}, %a1; fma.rn.f16 %h4, %h0, %h1, %h2; mov.b32 %d0, {%h4, %h3};"
        )
        assert halves(evaluate(code, x[:1], x[1:]))[0, 0] == expected

    def test_float16x2(self) -> None:
        a = np.array([1.5, -2.0, 60000, 1e-7], np.float16).view(np.uint32)
        b = np.array([0.25, 3.0, 60000, 1e-7], np.float16).view(np.uint32)
        got = halves(evaluate("add.f16x2 %d0, %a0, %a1;", a, b))
        np.testing.assert_array_equal(got, [[1.75, 1.0], [np.inf, np.float16(1e-7) * 2]])
        np.testing.assert_array_equal(halves(evaluate("neg.f16x2 %d0, %a0;", a)), -halves(a))

    def test_maximum_of_float16x2_keeps_nan_where_asked(self) -> None:
        a = np.array([np.nan, -1.0, -0.0, 3.0], np.float16).view(np.uint32)
        kept = halves(evaluate("max.NaN.f16x2 %d0, %a0, %a1;", a, words(0)))
        lost = halves(evaluate("max.f16x2 %d0, %a0, %a1;", a, words(0)))
        np.testing.assert_array_equal(kept, [[np.nan, 0], [0, 3]])
        np.testing.assert_array_equal(lost, [[0, 0], [0, 3]])
        assert not np.signbit(kept[1, 0])

    def test_maximum_of_bfloat16x2(self) -> None:
        # NaN, -1 | 2, -0
        got = evaluate("max.NaN.bf16x2 %d0, %a0, %a1;", words(0xBF807FFF, 0x80004000), words(0))
        np.testing.assert_array_equal(got, [0x00007FFF, 0x00004000])

    @pytest.mark.parametrize(
        ("comparison", "expected"),
        [("lt", [1, 0, 0]), ("ltu", [1, 0, 1]), ("ne", [1, 0, 0]), ("neu", [1, 0, 1]), ("equ", [0, 1, 1]),
         ("nan", [0, 0, 1]), ("num", [1, 1, 0]), ("ge", [0, 1, 0]), ("geu", [0, 1, 1])],
    )  # fmt: skip
    def test_comparison_with_nan(self, comparison: str, expected: list[int]) -> None:
        code = f"setp.{comparison}.f32 %p0, %a0, %a1; selp.u32 %d0, 1, 0, %p0;"
        np.testing.assert_array_equal(evaluate(code, floats(1, 2, np.nan), floats(2, 2, 2)), expected)

    def test_subnormal_numbers_are_flushed_where_asked(self) -> None:
        a = floats(1e-40, -1e-40, 1e-38)
        np.testing.assert_array_equal(evaluate("add.f32 %d0, %a0, 0f00000000;", a).view(np.float32), a)
        got = evaluate("add.ftz.f32 %d0, %a0, 0f00000000;", a).view(np.float32)
        np.testing.assert_array_equal(got, [0, 0, 0])
        got = evaluate("mul.ftz.f32 %d0, %a0, 0f3F800000;", floats(-1e-40, 2e-38)).view(np.float32)
        np.testing.assert_array_equal(got, floats(-0.0, 2e-38))
        assert np.signbit(got[0])

    def test_saturation(self) -> None:
        got = evaluate("add.sat.f32 %d0, %a0, %a0;", floats(-1, 0.25, 7, np.nan)).view(np.float32)
        np.testing.assert_array_equal(got, [0, 0.5, 1, 0])

    @pytest.mark.parametrize(
        ("instruction", "function"),
        [("ex2.approx.ftz.f32", np.exp2), ("rcp.approx.ftz.f32", np.reciprocal), ("sqrt.approx.f32", np.sqrt),
         ("rsqrt.approx.f32", lambda x: 1 / np.sqrt(x)), ("tanh.approx.f32", np.tanh), ("lg2.approx.f32", np.log2)],
    )  # fmt: skip
    def test_functions(self, instruction: str, function) -> None:
        x = np.linspace(0.01, 9, 40, dtype=np.float32)
        got = evaluate(f"{instruction} %d0, %a0;", x).view(np.float32)
        np.testing.assert_allclose(got, function(x.astype(np.float64)), rtol=1e-7)


class TestConversions:
    def test_float32_to_float16_pairs(self) -> None:
        # upper half first; a tie to even; beyond the largest number; the smallest subnormal number
        upper, lower = floats(1 + 2**-11, 65520, 2**-25), floats(1 + 3 * 2**-11, -65519, 2**-24)
        got = halves(evaluate("cvt.rn.f16x2.f32 %d0, %a0, %a1;", upper, lower))
        np.testing.assert_array_equal(got, [[1 + 2**-9, 1], [-65504, np.inf], [2**-24, 0]])

    def test_float32_to_bfloat16_pairs(self) -> None:
        # 1 + 2**-8 is a tie, to even; the next float above is not; NaN is 0x7FFF
        upper = floats(1 + 2**-8, 1 + 3 * 2**-8, np.nan)
        lower = floats(1 + 2**-8 + 2**-23, -np.inf, 3.4e38)
        got = evaluate("cvt.rn.bf16x2.f32 %d0, %a0, %a1;", upper, lower)
        np.testing.assert_array_equal(got, [0x3F803F81, 0x3F82FF80, 0x7FFF7F80])

    def test_float32_to_float16_towards_zero(self) -> None:
        got = evaluate("cvt.rz.f16.f32 %h0, %a0; mov.b32 %d0, {%h0, 0};", floats(1 + 2**-10 - 2**-20, 1e6, -1 - 2**-11))
        np.testing.assert_array_equal(got & 0xFFFF, np.array([1, 65504, -1], np.float16).view(np.uint16))

    def test_tf32_rounds_ties_away_from_zero(self) -> None:
        x = floats(1 + 2**-11, 1 + 2**-11 - 2**-23, -1 - 2**-11, 3 + 2**-10)
        got = evaluate("cvt.rna.tf32.f32 %d0, %a0;", x).view(np.float32)
        np.testing.assert_array_equal(got, floats(1 + 2**-10, 1, -1 - 2**-10, 3 + 2**-9))

    @pytest.mark.parametrize(
        ("rounding", "expected"),
        [("rni", [2, -2, 4, 0x7FFFFFFF, 0]), ("rzi", [2, -1, 3, 0x7FFFFFFF, 0]),
         ("rmi", [2, -2, 3, 0x7FFFFFFF, 0]), ("rpi", [3, -1, 4, 0x7FFFFFFF, 0])],
    )  # fmt: skip
    def test_float_to_integer(self, rounding: str, expected: list[int]) -> None:
        got = evaluate(f"cvt.{rounding}.s32.f32 %d0, %a0;", floats(2.5, -1.5, 3.5, 3e9, np.nan))
        np.testing.assert_array_equal(got, words(*expected))

    def test_float_to_unsigned_integer(self) -> None:
        got = evaluate("cvt.rzi.u32.f32 %d0, %a0;", floats(-3, 4e9, 5e9, 2.0**32))
        np.testing.assert_array_equal(got, words(0, 4000000000, 0xFFFFFFFF, 0xFFFFFFFF))

    def test_integer_to_float(self) -> None:
        got = evaluate("cvt.rn.f32.s32 %d0, %a0;", words(-(2**24) - 1, 2**24 + 3)).view(np.float32)
        np.testing.assert_array_equal(got, floats(-(2.0**24), 2.0**24 + 4))
        got = evaluate("cvt.rz.f32.u32 %d0, %a0;", words(0xFFFFFFFF)).view(np.float32)
        assert got[0] == 2.0**32 - 256

    def test_rounding_to_integers_stays_a_float(self) -> None:
        got = evaluate("cvt.rmi.f32.f32 %d0, %a0;", floats(2.5, -1.5)).view(np.float32)
        np.testing.assert_array_equal(got, [2, -2])


LANE = np.arange(32)


class TestWarp:
    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("shfl.sync.bfly.b32 %d0|%p0, %a0, 5, 0x1f, -1;", LANE ^ 5),
            ("shfl.sync.down.b32 %d0|%p0, %a0, 3, 0x1f, -1;", np.where(LANE + 3 < 32, LANE + 3, LANE)),
            ("shfl.sync.up.b32 %d0|%p0, %a0, 3, 0, -1;", np.where(LANE >= 3, LANE - 3, LANE)),
            ("shfl.sync.idx.b32 %d0|%p0, %a0, 7, 0x1f, -1;", np.full(32, 7)),
            # segments of 8 lanes: the upper bits of the mask are those of 32 - 8
            ("shfl.sync.idx.b32 %d0|%p0, %a0, 2, 0x181f, -1;", LANE // 8 * 8 + 2),
            ("shfl.sync.down.b32 %d0|%p0, %a0, 3, 0x181f, -1;", np.where(LANE % 8 < 5, LANE + 3, LANE)),
            ("shfl.sync.up.b32 %d0|%p0, %a0, 3, 0x1800, -1;", np.where(LANE % 8 >= 3, LANE - 3, LANE)),
        ],
    )
    def test_shuffle(self, code: str, expected: np.ndarray) -> None:
        got = execute(code + "selp.u32 %d1, 1, 0, %p0;", [LANE.astype(np.uint32)], 2)
        np.testing.assert_array_equal(got[0], expected)
        if "up" in code or "down" in code:
            np.testing.assert_array_equal(got[1] != 0, expected != LANE)

    def test_vote(self) -> None:
        code = """
            setp.gt.u32 %p0, %a0, 60;
            vote.sync.ballot.b32 %d0, %p0, -1;
            vote.sync.any.pred %p1, %p0, -1; selp.u32 %d1, 1, 0, %p1;
            vote.sync.all.pred %p1, !%p0, -1; selp.u32 %d2, 1, 0, %p1;"""
        got = execute(code, [np.arange(64, dtype=np.uint32)], 3, threads=64)
        np.testing.assert_array_equal(got[:, 0], [0, 0, 1])
        np.testing.assert_array_equal(got[:, 63], [0xE0000000, 1, 0])

    def test_reduction(self) -> None:
        got = execute(
            "redux.sync.add.s32 %d0, %a0, -1; redux.sync.max.u32 %d1, %a0, -1;",
            [np.arange(64, dtype=np.uint32)],
            2,
            threads=64,
        )
        np.testing.assert_array_equal(got[0], np.repeat([496, 1520], 32))
        np.testing.assert_array_equal(got[1], np.repeat([31, 63], 32))

    def test_divergent_lanes_meet_again(self) -> None:
        code = """
            and.b32 %r1, %a0, 3; mov.u32 %d0, 0;
            LOOP: setp.eq.u32 %p0, %r1, 0; @%p0 bra DONE;
            add.u32 %d0, %d0, %a0; sub.u32 %r1, %r1, 1; bra LOOP;
            DONE: shfl.sync.bfly.b32 %d1, %d0, 1, 0x1f, -1;"""
        got = execute(code, [LANE.astype(np.uint32)], 2)
        np.testing.assert_array_equal(got[0], LANE % 4 * LANE)
        np.testing.assert_array_equal(got[1], (LANE ^ 1) % 4 * (LANE ^ 1))

    def test_indexed_branch(self) -> None:
        code = """
            and.b32 %r1, %a0, 1;
            TABLE: .branchtargets EVEN, ODD;
            brx.idx %r1, TABLE;
            EVEN: mov.u32 %d0, 10; bra.uni DONE;
            ODD: mov.u32 %d0, 20;
            DONE: add.u32 %d0, %d0, 1;"""
        np.testing.assert_array_equal(execute(code, [LANE.astype(np.uint32)])[0], np.where(LANE % 2, 21, 11))

    def test_barrier_of_some_warps(self) -> None:
        code = """
            setp.lt.u32 %p0, %a0, 64; mul.lo.u32 %r1, %a0, 4; mov.u32 %d0, 0;
            @%p0 st.shared.u32 [%r1], %a0;
            @%p0 bar.sync 1, 64;
            @%p0 ld.shared.u32 %d0, [%r1+-4];"""
        with pytest.raises(OutOfBounds, match="offset 4294967292 of 256"):
            execute(code, [np.arange(96, dtype=np.uint32)], threads=96, shared=256)
        code = code.replace("[%r1+-4]", "[%r2]").replace("mov.u32 %d0", "xor.b32 %r2, %r1, 252; mov.u32 %d0")
        got = execute(code, [np.arange(96, dtype=np.uint32)], threads=96, shared=256)[0]
        np.testing.assert_array_equal(got, np.where(np.arange(96) < 64, 63 - np.arange(96), 0))


def fragment_a(matrix: np.ndarray) -> list[np.ndarray]:
    """Registers of A (16 x K, 16-bit or 32-bit elements), by the figures of the PTX ISA."""
    per = 4 // matrix.dtype.itemsize
    registers = []
    for columns in range(0, matrix.shape[1], 4 * per):
        for rows in (0, 8):
            tile = matrix[rows : rows + 8, columns : columns + 4 * per]
            registers.append(np.ascontiguousarray(tile).view(np.uint32).ravel())
    return registers


def fragment_b(matrix: np.ndarray) -> list[np.ndarray]:
    """Registers of B (K x 8)."""
    per = 4 // matrix.dtype.itemsize
    return [
        np.ascontiguousarray(matrix[rows : rows + 4 * per].T).view(np.uint32).ravel()
        for rows in range(0, matrix.shape[0], 4 * per)
    ]


def matrix_c(registers: np.ndarray) -> np.ndarray:
    """C or D (16 x 8) from its four registers of 32-bit elements."""
    upper, lower = registers[:2].T, registers[2:].T
    return np.concatenate([upper.reshape(8, 8), lower.reshape(8, 8)])


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


MMA = "mma.sync.aligned.{shape}.row.col.{types} {{%d0, %d1, %d2, %d3}}, {{{a}}}, {{{b}}}, {{%d0, %d1, %d2, %d3}};"


class TestMatrices:
    @pytest.mark.parametrize(
        ("shape", "types", "convert"),
        [
            ("m16n8k16", "f32.f16.f16.f32", np.float16),
            ("m16n8k8", "f32.f16.f16.f32", np.float16),
            ("m16n8k16", "f32.bf16.bf16.f32", to_bfloat16),
            ("m16n8k8", "f32.tf32.tf32.f32", np.float32),
            ("m16n8k4", "f32.tf32.tf32.f32", np.float32),
            ("m16n8k32", "s32.s8.s8.s32", np.int8),
            ("m16n8k16", "s32.s8.s8.s32", np.int8),
        ],
    )
    def test_multiply_accumulate(self, shape: str, types: str, convert) -> None:
        k = int(shape[6:])
        rng = np.random.default_rng(1)
        a, b = rng.integers(-8, 9, (16, k)), rng.integers(-8, 9, (k, 8))
        inputs = [*fragment_a(convert(a)), *fragment_b(convert(b))]
        count = len(inputs)
        split = len(fragment_a(convert(a)))
        names = [f"%a{i}" for i in range(count)]
        code = "".join(f"mov.b32 %d{i}, 0;" for i in range(4))
        code += MMA.format(shape=shape, types=types, a=", ".join(names[:split]), b=", ".join(names[split:])) * 2
        got = matrix_c(execute(code, inputs, 4).view(np.int32 if types.startswith("s32") else np.float32))
        np.testing.assert_array_equal(got, 2 * (a @ b))

    def test_float16_sums(self) -> None:
        rng = np.random.default_rng(1)
        a, b = rng.integers(-8, 9, (16, 16)), rng.integers(-8, 9, (16, 8))
        mma = "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16"
        code = f"{mma} {{%d0, %d1}}, {{%a0, %a1, %a2, %a3}}, {{%a4, %a5}}, {{0, 0}};"
        got = execute(code, [*fragment_a(a.astype(np.float16)), *fragment_b(b.astype(np.float16))], 2)
        np.testing.assert_array_equal(got.view(np.float16).reshape(16, 8), a @ b)

    def test_tf32_ignores_the_lower_bits(self) -> None:
        a = np.full((16, 8), 1 + 2**-11, np.float32)
        code = "".join(f"mov.b32 %d{i}, 0;" for i in range(4)) + MMA.format(
            shape="m16n8k8", types="f32.tf32.tf32.f32", a="%a0, %a1, %a2, %a3", b="%a4, %a5"
        )
        got = execute(code, [*fragment_a(a), *fragment_b(np.ones((8, 8), np.float32))], 4)
        np.testing.assert_array_equal(got.view(np.float32), 8)

    @pytest.mark.parametrize("count", [1, 2, 4])
    @pytest.mark.parametrize("transposed", [False, True])
    def test_load_matrices(self, count: int, transposed: bool) -> None:
        # each thread stores its 16 bytes; rows are then taken in reverse order
        matrices = np.arange(4 * 64, dtype=np.uint16).reshape(4, 8, 8)
        inputs = list(np.ascontiguousarray(matrices.reshape(32, 8).view(np.uint32).T))
        registers = ", ".join(f"%d{i}" for i in range(count))
        code = f"""
            mul.lo.u32 %r1, %r0, 16;
            st.shared.v4.b32 [%r1], {{%a0, %a1, %a2, %a3}};
            bar.sync 0;
            xor.b32 %r2, %r1, 112;
            ldmatrix.sync.aligned.m8n8.x{count}{".trans" * transposed}.shared.b16 {{{registers}}}, [%r2];"""
        got = execute(code, inputs, count, shared=512).view(np.uint16).reshape(count, 8, 8)
        expected = matrices[:count, ::-1]
        np.testing.assert_array_equal(got, expected.swapaxes(1, 2) if transposed else expected)

    def test_store_matrices(self) -> None:
        matrices = np.arange(2 * 64, dtype=np.uint16).reshape(2, 8, 8)
        code = """
            mul.lo.u32 %r1, %r0, 16; and.b32 %r1, %r1, 255;
            stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%r1], {%a0, %a1};
            bar.sync 0;
            mul.lo.u32 %r2, %r0, 4;
            ld.shared.b32 %d0, [%r2]; ld.shared.b32 %d1, [%r2+128];"""
        got = execute(code, list(matrices.view(np.uint32).reshape(2, 32)), 2, shared=256)
        np.testing.assert_array_equal(got.view(np.uint16).reshape(2, 8, 8), matrices.swapaxes(1, 2))

    def test_needs_the_whole_warp(self) -> None:
        with pytest.raises(PartialWarp, match="by 8 of the warp's 32 threads"):
            execute("movmatrix.sync.aligned.m8n8.trans.b16 %d0, %a0;", [np.arange(40, dtype=np.uint32)], threads=40)

    def test_move_matrix(self) -> None:
        matrix = np.arange(64, dtype=np.uint16).reshape(8, 8)
        got = execute("movmatrix.sync.aligned.m8n8.trans.b16 %d0, %a0;", [matrix.view(np.uint32).ravel()])
        np.testing.assert_array_equal(got.view(np.uint16).reshape(8, 8), matrix.T)


class TestAsynchronousCopies:
    """Of 16 threads that copy 16 bytes each from a source of 64 bytes, %a1 says how many of them are read."""

    def copy(self, counts: list[int], wait: str) -> np.ndarray:
        code = f"""
            ld.param.u64 %rd2, [f_param_0]; mul.wide.u32 %q0, %r0, 16; add.u64 %rd2, %rd2, %q0;
            mul.lo.u32 %r1, %r0, 16;
            cp.async.cg.shared.global [%r1], [%rd2], 16, %a1;
            cp.async.commit_group;
            {wait}
            ld.shared.v2.b32 {{%d0, %d1}}, [%r1];"""
        source = np.arange(1, 17, dtype=np.uint32)
        return execute(code, [source, np.array(counts + [0] * 12, np.uint32)], 2, threads=16, shared=256)

    def test_rest_is_zeros(self) -> None:
        got = self.copy([16, 4, 6, 0], "cp.async.wait_group 0;")
        np.testing.assert_array_equal(got[:, :4], [[1, 5, 9, 0], [2, 0, 10, 0]])
        np.testing.assert_array_equal(got[:, 4:], 0)  # those read nothing, beyond the source

    def test_no_more_is_read_than_there_is(self) -> None:
        with pytest.raises(OutOfBounds, match=r"thread 4: global load of 16 bytes"):
            execute(
                """
                ld.param.u64 %rd2, [f_param_0]; mul.wide.u32 %q0, %r0, 16; add.u64 %rd2, %rd2, %q0;
                mul.lo.u32 %r1, %r0, 16; mov.b32 %d0, 0;
                cp.async.ca.shared.global [%r1], [%rd2], 16;
                cp.async.wait_all;""",
                [np.arange(16, dtype=np.uint32)],
                threads=16,
                shared=256,
            )

    @pytest.mark.parametrize("wait", ["", "cp.async.wait_group 1;"])
    def test_lands_only_when_waited_for(self, wait: str) -> None:
        with pytest.raises(PendingCopy, match="has not been waited for"):
            self.copy([16, 16, 16, 16], wait)


class TestUnknown:
    @pytest.mark.parametrize(
        "instruction",
        ["frobnicate.b32 %d0, %a0;", "add.rp.f32 %d0, %a0, %a0;", "atom.global.add.u32 %d0, [%rd0], 1;",
         "cp.async.bulk.shared.global [%r1], [%rd2], 16;", "add.u32 %d0, %a0;", "ld.global.b32 %d0, [nowhere];",
         "mov.u32 %d0, %clock;", "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%d0}, {%a0}, {%a0}, {%d0};"],
    )  # fmt: skip
    def test_is_named(self, instruction: str) -> None:
        with pytest.raises(UnknownInstruction, match=instruction.split(maxsplit=1)[0].replace(".", r"\.")):
            execute(instruction, [words(*range(32))])
