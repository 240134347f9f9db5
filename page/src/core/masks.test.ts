// mask.ts, rle.ts and contours.ts: on masks small enough to check by counting, and on ones as large as photos get.
import { describe, expect, test } from "vitest";
import { signedArea, tracePolygons } from "./contours";
import { area, bounds, emptyMask, type Mask, paint, subtract, union, windowOf } from "./mask";
import {
  areaOfRle,
  boundsOfRle,
  compress,
  countRuns,
  decode,
  decodeWindow,
  emptyRle,
  encode,
  type Rle,
  uncompress,
} from "./rle";

/** A mask as its rows look. */
function drawn(...rows: string[]): Mask {
  const width = rows[0]!.length;
  const data = Uint8Array.from(rows.join(""), (character) => (character === "#" ? 1 : 0));
  return { width, height: rows.length, data };
}

function rows({ width, height, data }: Mask): string[] {
  const row = (y: number) => Array.from(data.subarray(y * width, (y + 1) * width), (on) => (on ? "#" : ".")).join("");
  return Array.from({ length: height }, (_, y) => row(y));
}

/** Numbers from 0 to 1 that are the same at every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function noise(width: number, height: number, share: number, seed = 1): Mask {
  const next = random(seed);
  return { width, height, data: Uint8Array.from({ length: width * height }, () => (next() < share ? 1 : 0)) };
}

const CASES: Record<string, Mask> = {
  "one pixel in one": drawn("#"),
  "nothing in one pixel": drawn("."),
  nothing: drawn("...", "..."),
  everything: drawn("###", "###"),
  "one pixel": drawn("....", "..#.", "...."),
  corners: drawn("#.#", "...", "#.#"),
  border: drawn("####", "#..#", "####"),
  "hole and island": drawn(".......", ".#####.", ".#...#.", ".#.#.#.", ".#...#.", ".#####.", "......."),
  diagonal: drawn("#..", ".#.", "..#"),
  "full columns": drawn(".##.", ".##.", ".##."),
  "one row": drawn("##.#"),
  "one column": drawn("#", ".", "#", "#"),
  noise: noise(37, 23, 0.5),
  "sparse noise": noise(61, 40, 0.03),
};

describe("masks", () => {
  test("area and box", () => {
    expect(area(CASES["hole and island"]!)).toBe(17);
    expect(bounds(CASES["hole and island"]!)).toEqual({ x0: 1, y0: 1, x1: 6, y1: 6 });
    expect(bounds(CASES.corners!)).toEqual({ x0: 0, y0: 0, x1: 3, y1: 3 });
    expect(bounds(CASES.nothing!)).toBeNull();
    expect(bounds(emptyMask(0, 0))).toBeNull();
  });

  test("the part in the box", () => {
    const part = windowOf(drawn(".....", "..#..", "..##.", "....."));
    expect([part.left, part.top]).toEqual([2, 1]);
    expect(rows(part.mask)).toEqual(["#.", "##"]);
  });

  test("what is in one or in both, and what is in one alone", () => {
    const [one, other] = [drawn("##.", "..."), drawn(".##", "...")];
    expect(rows(union(one, other))).toEqual(["###", "..."]);
    expect(rows(subtract(one, other))).toEqual(["#..", "..."]);
    expect(rows(one)).toEqual(["##.", "..."]);
    expect(() => union(one, drawn("##"))).toThrow("expected 3 x 2 pixels as the first has, got 2 x 1");
  });
});

describe("the brush", () => {
  test("reaches the pixels whose middles are within its radius", () => {
    const next = random(7);
    for (let round = 0; round < 40; ++round) {
      const mask = emptyMask(30, 20);
      const [ax, ay, bx, by] = [next() * 40 - 5, next() * 30 - 5, next() * 40 - 5, next() * 30 - 5];
      const radius = 0.8 + next() * 6;
      const points =
        round % 4 === 0
          ? ([[ax, ay]] as const)
          : ([
              [ax, ay],
              [bx, by],
            ] as const);
      const box = paint(mask, { points, radius, erase: false });
      const last = points[points.length - 1]!;
      const distance = (x: number, y: number): number => {
        const [dx, dy] = [last[0] - ax, last[1] - ay];
        const length = dx * dx + dy * dy;
        const along = length > 0 ? Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / length, 0), 1) : 0;
        return Math.hypot(x - ax - along * dx, y - ay - along * dy);
      };
      for (let y = 0; y < 20; ++y) {
        for (let x = 0; x < 30; ++x) {
          const gap = distance(x + 0.5, y + 0.5) - radius;
          if (Math.abs(gap) > 1e-9) expect(mask.data[y * 30 + x], `round ${round} at ${x}, ${y}`).toBe(gap < 0 ? 1 : 0);
        }
      }
      expect(box).toEqual(bounds(mask));
    }
  });

  test("finer than a pixel paints the one it is in, erases too, and stays inside", () => {
    const mask = emptyMask(4, 3);
    expect(paint(mask, { points: [[2.1, 1.9]], radius: 0.1, erase: false })).toEqual({ x0: 2, y0: 1, x1: 3, y1: 2 });
    expect(rows(mask)).toEqual(["....", "..#.", "...."]);
    expect(
      paint(mask, {
        points: [
          [-9, -9],
          [-5, 20],
        ],
        radius: 2,
        erase: false,
      }),
    ).toBeNull();
    expect(
      paint(mask, {
        points: [
          [-1, 1.5],
          [9, 1.5],
        ],
        radius: 0.5,
        erase: false,
      }),
    ).toEqual({ x0: 0, y0: 1, x1: 4, y1: 2 });
    paint(mask, {
      points: [
        [1, 1.5],
        [3, 1.5],
      ],
      radius: 0.4,
      erase: true,
    });
    expect(rows(mask)).toEqual(
      ["....", "#..#".replace("..#", "..."), "...."].map((row, y) => (y === 1 ? "#..." : row)),
    );
  });
});

describe("run lengths", () => {
  test.each(Object.entries(CASES))("%s: there and back", (_, mask) => {
    const rle = encode(mask);
    expect(rle.size).toEqual([mask.height, mask.width]);
    expect(decode(rle)).toEqual(mask);
    expect(decode({ size: rle.size, counts: uncompress(rle) })).toEqual(mask);
    expect(areaOfRle(rle)).toBe(area(mask));
    expect(boundsOfRle(rle)).toEqual(bounds(mask));
    expect(decodeWindow(rle)).toEqual(windowOf(mask));
    expect(uncompress(rle)).toEqual([...countRuns(mask)]);
  });

  test("the texts are COCO's", () => {
    expect(encode(drawn("#..", ".#.", "..#")).counts).toBe("013000"); // that of evsam/rle.py
    expect([...countRuns(drawn("#..", ".#.", "..#"))]).toEqual([0, 1, 3, 1, 3, 1]);
    expect(compress([100000, 5, 7, 100000])).toBe("PeQ357kdQ3"); // difference to the count two before: 99,995
    expect(emptyRle(3, 2)).toEqual(encode(drawn("...", "...")));
    expect(encode(emptyMask(0, 0))).toEqual({ size: [0, 0], counts: "0" });
    expect(decode({ size: [0, 0], counts: "0" })).toEqual(emptyMask(0, 0));
  });

  test.each([
    ["too few", { size: [3, 3], counts: "8" }, "expected counts that add up to 3 x 3, got 8"],
    ["too many", { size: [3, 3], counts: [4, 9] }, "got 13"],
    ["below 0", { size: [3, 3], counts: [10, -1] }, "0 pixels or more, got -1"],
    ["a fraction", { size: [1, 1], counts: [0.5, 0.5] }, "got 0.5"],
    ["none", { size: [0, 0], counts: "" }, "got 0"],
    ["cut off", { size: [3, 3], counts: "P" }, "expected counts in COCO's characters"],
    ["other characters", { size: [3, 3], counts: "~" }, "expected counts in COCO's characters"],
  ] as [string, Rle, string][])("damaged ones are refused: %s", (_, rle, message) => {
    expect(() => decode(rle)).toThrow(message);
    expect(() => decodeWindow(rle)).toThrow(message);
  });
});

/** The pixels inside rings, by how often a line to the left crosses them. */
function filled(width: number, height: number, rings: readonly ArrayLike<number>[]): Mask {
  const mask = emptyMask(width, height);
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const [ax, ay, bx, by] = [ring[j]!, ring[j + 1]!, ring[i]!, ring[i + 1]!];
      for (let y = Math.ceil(Math.min(ay, by) - 0.5); y + 0.5 < Math.max(ay, by); ++y) {
        const x = ax + ((y + 0.5 - ay) / (by - ay)) * (bx - ax);
        for (let column = Math.max(0, Math.ceil(x - 0.5)); column < width; ++column)
          mask.data[y * width + column]! ^= 1;
      }
    }
  }
  return mask;
}

describe("outlines", () => {
  test.each(Object.entries(CASES))("%s: filling them gives the mask back", (_, mask) => {
    const polygons = tracePolygons(mask);
    expect(
      filled(
        mask.width,
        mask.height,
        polygons.flatMap(({ outer, holes }) => [outer, ...holes]),
      ),
    ).toEqual(mask);
    expect(tracePolygons(encode(mask))).toEqual(polygons);
    const areas = polygons.flatMap(({ outer, holes }) => [outer, ...holes].map(signedArea));
    expect(areas.reduce((sum, each) => sum + each, 0)).toBe(area(mask));
    for (const { outer, holes } of polygons) {
      expect(signedArea(outer)).toBeGreaterThan(0);
      for (const hole of holes) expect(signedArea(hole)).toBeLessThan(0);
    }
  });

  test("regions, holes and islands", () => {
    const polygons = tracePolygons(CASES["hole and island"]!);
    expect(polygons.map(({ outer, holes }) => [[...outer], holes.map((hole) => [...hole])])).toEqual([
      [[1, 1, 6, 1, 6, 6, 1, 6], [[2, 2, 2, 5, 5, 5, 5, 2]]],
      [[3, 3, 4, 3, 4, 4, 3, 4], []],
    ]);
    expect(tracePolygons(CASES.diagonal!)).toHaveLength(3);
  });

  test.each([0.5, 0.75, 1.5, 4])("simplified by %s, they stay that close and lose no region", (tolerance) => {
    const mask = noise(90, 70, 0.6, 3);
    const exact = tracePolygons(mask);
    const simple = tracePolygons(mask, tolerance);
    expect(simple.map(({ holes }) => holes.length)).toEqual(exact.map(({ holes }) => holes.length));
    simple.forEach(({ outer }, index) => {
      expect(outer.length).toBeGreaterThanOrEqual(6);
      const all = exact[index]!.outer;
      for (let i = 0; i < all.length; i += 2) {
        expect(distanceToRing(all[i]!, all[i + 1]!, outer)).toBeLessThanOrEqual(tolerance + 1e-9);
      }
    });
  });

  test("a tolerance that is none is refused", () => {
    for (const tolerance of [-1, Number.NaN, Infinity]) {
      expect(() => tracePolygons(drawn("#"), tolerance)).toThrow(`0 or more, got ${tolerance}`);
    }
  });
});

function distanceToRing(x: number, y: number, ring: ArrayLike<number>): number {
  let least = Infinity;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    const [ax, ay, dx, dy] = [ring[j]!, ring[j + 1]!, ring[i]! - ring[j]!, ring[i + 1]! - ring[j + 1]!];
    const length = dx * dx + dy * dy;
    const along = length > 0 ? Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / length, 0), 1) : 0;
    least = Math.min(least, Math.hypot(x - ax - along * dx, y - ay - along * dy));
  }
  return least;
}

test("a photo of 12,000 x 8,000 pixels", () => {
  const mask = emptyMask(12_000, 8_000);
  paint(mask, {
    points: [
      [3000, 4000],
      [9000, 4500],
    ],
    radius: 2500,
    erase: false,
  });
  paint(mask, { points: [[6000, 4200]], radius: 900, erase: true });
  const rle = encode(mask);
  expect(decode(rle).data.length).toBe(96_000_000);
  expect(areaOfRle(rle)).toBe(area(mask));
  const [polygon] = tracePolygons(rle, 0.75);
  expect(polygon!.holes).toHaveLength(1);
  const inside = [polygon!.outer, ...polygon!.holes].reduce((sum, ring) => sum + signedArea(ring), 0);
  expect(inside / area(mask)).toBeCloseTo(1, 3);
}, 30_000);
