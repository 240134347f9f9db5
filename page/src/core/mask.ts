// Masks of a photo's size, and what is done with their pixels. Large photos have large masks, so nothing here copies one
// unless it says so.

/** What is on the object: 1, elsewhere 0, row by row from the upper left pixel. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** A rectangle along the edges of pixels: pixel (x, y) is the square from (x, y) to (x + 1, y + 1). */
export interface Box {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** The part of a mask that lies in the box around it: most masks are small parts of large photos. */
export interface MaskWindow {
  /** Where the part's upper left pixel lies in the whole mask. */
  readonly left: number;
  readonly top: number;
  /** The part; without pixels where the mask is empty. */
  readonly mask: Mask;
}

/** A movement of a round brush. Places are measured along the edges of pixels, as in a box, and may be fractions. */
export interface Stroke {
  /** Places that the brush goes through, in straight lines: at least one. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Of the brush, in pixels, more than 0. */
  readonly radius: number;
  /** Whether pixels leave the mask instead of joining it. */
  readonly erase: boolean;
}

/** A mask with nothing in it. */
export function emptyMask(width: number, height: number): Mask {
  return { width, height, data: new Uint8Array(width * height) };
}

/** How many pixels are on the object. */
export function area(mask: Mask): number {
  const { data } = mask;
  let sum = 0;
  for (let at = 0; at < data.length; ++at) sum += data[at]!; // which is several times as fast as for ... of
  return sum;
}

/** The box around what is on the object; null where nothing is. */
export function bounds(mask: Mask): Box | null {
  const { width, height, data } = mask;
  const first = data.indexOf(1);
  if (first < 0) return null;
  const y0 = Math.floor(first / width);
  const y1 = Math.floor(data.lastIndexOf(1) / width) + 1;
  let x0 = width;
  let x1 = 0;
  for (let y = y0; y < y1; ++y) {
    const row = data.subarray(y * width, (y + 1) * width);
    const left = row.indexOf(1);
    if (left < 0) continue;
    if (left < x0) x0 = left;
    const right = row.lastIndexOf(1) + 1;
    if (right > x1) x1 = right;
  }
  return { x0, y0, x1, y1: Math.min(y1, height) };
}

/** A copy of the part of a mask that lies in its box. */
export function windowOf(mask: Mask): MaskWindow {
  const box = bounds(mask);
  if (box === null) return { left: 0, top: 0, mask: emptyMask(0, 0) };
  const part = emptyMask(box.x1 - box.x0, box.y1 - box.y0);
  for (let y = 0; y < part.height; ++y) {
    const from = (box.y0 + y) * mask.width + box.x0;
    part.data.set(mask.data.subarray(from, from + part.width), y * part.width);
  }
  return { left: box.x0, top: box.y0, mask: part };
}

/** A new mask of what is in one or in both. They have the same size. */
export function union(one: Mask, other: Mask): Mask {
  return combine(one, other, (a, b) => a | b);
}

/** A new mask of what is in the first and not in the second. They have the same size. */
export function subtract(one: Mask, other: Mask): Mask {
  return combine(one, other, (a, b) => a & (b ^ 1));
}

function combine(one: Mask, other: Mask, of: (a: number, b: number) => number): Mask {
  if (one.width !== other.width || one.height !== other.height) {
    throw new RangeError(
      `mask: expected ${one.width} x ${one.height} pixels as the first has, got ${other.width} x ${other.height}`,
    );
  }
  const data = new Uint8Array(one.data.length);
  for (let i = 0; i < data.length; ++i) data[i] = of(one.data[i]!, other.data[i]!);
  return { width: one.width, height: one.height, data };
}

/**
 * Draws a stroke into the mask itself: all pixels whose middles are at most a radius from the brush's way, and those that
 * its points lie in, so that a brush finer than a pixel leaves something too.
 *
 * @returns the box around pixels that may have changed; null where the stroke is outside of the mask.
 */
export function paint(mask: Mask, stroke: Stroke): Box | null {
  const { points, radius, erase } = stroke;
  const value = erase ? 0 : 1;
  let box: Box | null = null;
  points.forEach((point, index) => {
    const before = points[index - 1] ?? point;
    const touched = paintCapsule(mask, before, point, radius, value);
    if (touched !== null) box = box === null ? touched : around(box, touched);
  });
  return box;
}

/** The box around two boxes. */
export function around(one: Box, other: Box): Box {
  return {
    x0: Math.min(one.x0, other.x0),
    y0: Math.min(one.y0, other.y0),
    x1: Math.max(one.x1, other.x1),
    y1: Math.max(one.y1, other.y1),
  };
}

// Row by row, since in each row the pixels near a line are one run: where the two round ends and the straight part
// between them begin and end.
function paintCapsule(
  mask: Mask,
  from: readonly [number, number],
  to: readonly [number, number],
  radius: number,
  value: number,
): Box | null {
  const { width, height, data } = mask;
  const [ax, ay] = from;
  const [bx, by] = to;
  const dx = bx - ax;
  const dy = by - ay;
  const length = Math.hypot(dx, dy);
  const top = Math.max(0, Math.ceil(Math.min(ay, by) - radius - 0.5));
  const bottom = Math.min(height - 1, Math.floor(Math.max(ay, by) + radius - 0.5));
  let touched: Box | null = null;
  const fill = (y: number, first: number, last: number): void => {
    const x0 = Math.max(0, first);
    const x1 = Math.min(width, last + 1);
    if (y < 0 || y >= height || x0 >= x1) return;
    data.fill(value, y * width + x0, y * width + x1);
    const box = { x0, y0: y, x1, y1: y + 1 };
    touched = touched === null ? box : around(touched, box);
  };
  for (let y = top; y <= bottom; ++y) {
    const middle = y + 0.5;
    let left = Infinity;
    let right = -Infinity;
    for (const [cx, cy] of [from, to]) {
      const half = radius * radius - (middle - cy) * (middle - cy);
      if (half < 0) continue;
      left = Math.min(left, cx - Math.sqrt(half));
      right = Math.max(right, cx + Math.sqrt(half));
    }
    if (length > 0) {
      // The straight part is the rectangle whose long sides are a radius beside the line. It is convex: its corners' rows
      // bound it, and in between each of its sides gives one place.
      const nx = (-dy / length) * radius;
      const ny = (dx / length) * radius;
      const corners = [
        [ax + nx, ay + ny],
        [bx + nx, by + ny],
        [bx - nx, by - ny],
        [ax - nx, ay - ny],
      ] as const;
      corners.forEach(([px, py], i) => {
        const [qx, qy] = corners[(i + 1) % 4]!;
        if (py === qy || (middle - py) * (middle - qy) > 0) return;
        const x = px + ((middle - py) / (qy - py)) * (qx - px);
        left = Math.min(left, x);
        right = Math.max(right, x);
      });
    }
    if (left <= right) fill(y, Math.ceil(left - 0.5), Math.floor(right - 0.5));
  }
  for (const [px, py] of [from, to]) fill(Math.floor(py), Math.floor(px), Math.floor(px));
  return touched;
}
