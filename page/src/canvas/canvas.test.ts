import { describe, expect, it } from "vitest";
import { encode } from "../core/rle";
import { contains } from "./hit";
import { Latest } from "./latest";
import { maskOfLogits } from "./logits";
import { fitted, MOST, panned, toCanvas, toPhoto, zoomed } from "./view";

describe("view", () => {
  const photo = { width: 400, height: 100 };
  const canvas = { width: 800, height: 600 };

  it("fits a photo into the middle", () => {
    const view = fitted(photo, canvas);
    expect(view.scale).toBeCloseTo((800 - 48) / 400);
    expect(toCanvas(view, 200, 50)).toEqual([400, 300]);
    expect(fitted({ width: 4, height: 4 }, canvas).scale).toBe(4);
  });

  it("keeps the place under the pointer while zooming", () => {
    let view = fitted(photo, canvas);
    const before = toPhoto(view, 500, 310);
    for (let i = 0; i < 10; ++i) view = zoomed(view, 1.3, 500, 310, photo, canvas);
    const after = toPhoto(view, 500, 310);
    expect(after[0]).toBeCloseTo(before[0]);
    expect(after[1]).toBeCloseTo(before[1]);
    for (let i = 0; i < 99; ++i) view = zoomed(view, 1.3, 500, 310, photo, canvas);
    expect(view.scale).toBe(MOST);
    for (let i = 0; i < 99; ++i) view = zoomed(view, 0.7, 0, 0, photo, canvas);
    expect(view.scale).toBeGreaterThan(0.5);
  });

  it("never loses the photo", () => {
    const far = panned(fitted(photo, canvas), 1e6, -1e6, photo, canvas);
    const [left, bottom] = [far.x, far.y + photo.height * far.scale];
    expect(left).toBeLessThan(canvas.width);
    expect(bottom).toBeGreaterThan(0);
  });
});

describe("contains", () => {
  it("tells each pixel as the mask does", () => {
    const [width, height] = [13, 7];
    const data = Uint8Array.from({ length: width * height }, (_, i) => ((i * i) % 5 < 2 ? 1 : 0));
    const rle = encode({ width, height, data });
    for (let y = 0; y < height; ++y) {
      for (let x = 0; x < width; ++x) expect(contains(rle, x + 0.9, y)).toBe(data[y * width + x] === 1);
    }
    for (const [x, y] of [
      [-0.1, 3],
      [13, 3],
      [3, -0.1],
      [3, 7],
    ] as const) {
      expect(contains(rle, x, y)).toBe(false);
    }
  });
});

describe("maskOfLogits", () => {
  it("cuts a slope where it is 0, at any size", () => {
    // Rises from the left to the right: 0 between columns 99 and 100 of 256, that is at 100 / 256 of the longer side.
    const logits = Float32Array.from({ length: 256 * 256 }, (_, i) => (i % 256) - 99.5);
    for (const [width, height] of [
      [256, 256],
      [1024, 300],
      [4000, 3000],
      [300, 900],
    ] as const) {
      const mask = maskOfLogits(logits, width, height);
      expect(mask.width / mask.height).toBeCloseTo(width / height, 2);
      expect(Math.max(mask.width, mask.height)).toBe(Math.min(1024, Math.max(width, height)));
      const edge = Math.round((100 / 256) * Math.max(mask.width, mask.height));
      for (let y = 0; y < mask.height; ++y) {
        const row = mask.data.subarray(y * mask.width, (y + 1) * mask.width);
        const first = row.indexOf(1);
        if (edge >= mask.width) expect(first).toBe(-1);
        else expect(Math.abs(first - edge)).toBeLessThanOrEqual(1);
      }
    }
  });
});

describe("Latest", () => {
  it("has one call at a time, and then the newest wish", async () => {
    const begun: number[] = [];
    const got: number[] = [];
    const ends: (() => void)[] = [];
    const latest = new Latest<number>((result) => got.push(result));
    const call = (value: number) => () => {
      begun.push(value);
      return new Promise<number>((resolve) => ends.push(() => resolve(value)));
    };
    const settle = () => new Promise((resolve) => setTimeout(resolve));
    for (const value of [1, 2, 3]) latest.ask(call(value));
    expect(begun).toEqual([1]);
    ends[0]!();
    await settle();
    expect([begun, got]).toEqual([[1, 3], [1]]);
    latest.drop(); // the pointer has left
    ends[1]!();
    await settle();
    expect(got).toEqual([1]);
    latest.ask(async () => {
      throw new Error("a preview that fails");
    });
    await settle();
    latest.ask(async () => 4);
    await settle();
    expect(got).toEqual([1, 4]);
  });
});
