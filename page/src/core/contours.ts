// Outlines of masks as polygons that follow the edges of the pixels: the same corners as evsam/polygons.py finds, by the
// algorithm of csrc/masks/outlines.cpp.
//
// Between two rows of pixels the outlines run where one pixel is set and the other is not. Such a stretch of the same kind
// (the set pixels above it, or below) is one horizontal edge. Its two ends are corners, where an outline turns into a
// vertical edge, down to the next corner in that column. So corners pair up along rows by construction, and along columns
// by remembering for each column the corner that still waits for its partner below. Rings are found by walking along the
// two pairings in turns.
import { type Mask, type MaskWindow, windowOf } from "./mask";
import { decodeWindow, type Rle } from "./rle";

/** x and y of each corner, one after the other; not closed. */
export type Ring = Int32Array;

/**
 * One connected region (through pixel sides, not corners) of a mask. Coordinates are edges of pixels: pixel (x, y) is the
 * square from (x, y) to (x + 1, y + 1).
 */
export interface Polygon {
  /** Clockwise as seen on a screen. */
  readonly outer: Ring;
  /** Anticlockwise. */
  readonly holes: readonly Ring[];
}

/**
 * All regions of a mask, in the order of their topmost leftmost corners.
 *
 * @param tolerance how far, in pixels, corners that are left out may be from the lines that replace them (Douglas and
 *   Peucker). 0 keeps the edges of the pixels; from 0.71 on the steps of slanted edges become straight; 1 to 2 suit
 *   editors. Every ring keeps at least three corners, so no region and no hole is lost, and lines do not cross.
 */
export function tracePolygons(mask: Mask | Rle, tolerance = 0): Polygon[] {
  if (!(tolerance >= 0 && tolerance < Infinity)) {
    throw new RangeError(`tolerance: expected a finite number of pixels, 0 or more, got ${tolerance}`);
  }
  const part = "data" in mask ? windowOf(mask) : decodeWindow(mask);
  const { rings, outerOf } = new Tracer(part).trace();
  // What follows the edges has no corner on the line between its neighbours, so there is nothing to leave out.
  const kept = tolerance > 0 ? new Simplifier(tolerance, rings).run() : rings;
  const polygons = new Map<number, { outer: Ring; holes: Ring[] }>();
  kept.forEach((ring, index) => {
    const outer = outerOf[index]!;
    if (outer === index) polygons.set(index, { outer: ring, holes: [] });
    else polygons.get(outer)!.holes.push(ring);
  });
  return [...polygons.values()];
}

/** Area inside a ring; below 0 where it runs anticlockwise as seen on a screen, as holes do. */
export function signedArea(ring: ArrayLike<number>): number {
  let twice = 0;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    twice += ring[j]! * ring[i + 1]! - ring[i]! * ring[j + 1]!;
  }
  return twice / 2;
}

interface Rings {
  rings: Ring[];
  /** For each ring the outer one of its region, which is itself unless it is a hole. */
  outerOf: number[];
}

// A horizontal edge. Corner 2 * i is the left end of edge i and 2 * i + 1 the right one.
interface Edge {
  y: number;
  x0: number;
  x1: number;
  setBelow: boolean; // where the set pixels are
  region: number; // of an edge whose set pixels are above: a corner of the region left of its left end, or -1
}

class Tracer {
  readonly #mask: Mask;
  readonly #left: number;
  readonly #top: number;
  readonly #edges: Edge[] = [];
  readonly #partner: number[] = []; // of each corner, in its column
  readonly #waiting: Int32Array; // for each column of corners

  constructor({ left, top, mask }: MaskWindow) {
    this.#mask = mask;
    this.#left = left;
    this.#top = top;
    this.#waiting = new Int32Array(mask.width + 1).fill(-1);
  }

  trace(): Rings {
    const { width, height, data } = this.#mask;
    const blank = new Uint8Array(width);
    let above: Uint8Array = blank;
    for (let y = 0; y <= height; ++y) {
      const below = y < height ? data.subarray(y * width, (y + 1) * width) : blank;
      const first = this.#edges.length;
      this.#findEdges(y, above, below);
      this.#pairInColumns(first);
      this.#findRegions(first, below);
      above = below;
    }
    return this.#walk();
  }

  #findEdges(y: number, above: Uint8Array, below: Uint8Array): void {
    let open = 0; // 1: in an edge with the set pixels below it, -1: above it
    for (let x = 0; x <= above.length; ++x) {
      const kind = x < above.length ? below[x]! - above[x]! : 0;
      if (kind === open) continue;
      if (open !== 0) this.#edges[this.#edges.length - 1]!.x1 = x;
      if (kind !== 0) {
        this.#edges.push({ y, x0: x, x1: x, setBelow: kind > 0, region: -1 });
        this.#partner.push(-1, -1);
      }
      open = kind;
    }
  }

  // The corners of the edges from `first` on, from left to right. Where two edges meet, two set pixels touch at a corner;
  // they are kept apart: the corner of the upper one has the vertical edge above, the other one that below.
  #pairInColumns(first: number): void {
    const edges = this.#edges;
    for (let i = first; i < edges.length; ++i) {
      const edge = edges[i]!;
      if (!(i > first && edges[i - 1]!.x1 === edge.x0)) this.#pair(edge.x0, 2 * i);
      const meetsRight = edges[i + 1]?.x0 === edge.x1;
      if (meetsRight && edge.setBelow) this.#pair(edge.x1, 2 * i + 2); // the upper one is on the right
      this.#pair(edge.x1, 2 * i + 1);
      if (meetsRight && !edge.setBelow) this.#pair(edge.x1, 2 * i + 2);
    }
  }

  #pair(x: number, corner: number): void {
    const waiting = this.#waiting[x]!;
    if (waiting < 0) {
      this.#waiting[x] = corner;
      return;
    }
    this.#partner[corner] = waiting;
    this.#partner[waiting] = corner;
    this.#waiting[x] = -1;
  }

  // A hole begins at the left end of an edge whose set pixels are above it, with a set pixel on the left of what is below.
  // The run of that pixel begins at a vertical edge of the region that the hole is in.
  #findRegions(first: number, below: Uint8Array): void {
    for (let i = first; i < this.#edges.length; ++i) {
      const edge = this.#edges[i]!;
      if (edge.setBelow || edge.x0 === 0 || below[edge.x0 - 1] === 0) continue;
      edge.region = this.#waiting[below.lastIndexOf(0, edge.x0 - 1) + 1]!;
    }
  }

  #walk(): Rings {
    const edges = this.#edges;
    const ringOf = new Int32Array(2 * edges.length).fill(-1);
    const rings: Ring[] = [];
    const outerOf: number[] = [];
    edges.forEach((edge, i) => {
      if (ringOf[2 * i]! >= 0) return;
      const ring = rings.length;
      const corners: number[] = [];
      for (let corner = 2 * i; ringOf[corner]! < 0; corner = this.#partner[corner ^ 1]!) {
        ringOf[corner] = ringOf[corner ^ 1] = ring;
        corners.push(corner, corner ^ 1);
      }
      if (edge.setBelow) {
        outerOf.push(ring);
      } else {
        // An edge further left or higher, so its ring has been walked: the outer one, or another hole of the region.
        outerOf.push(outerOf[ringOf[edge.region]!]!);
        corners.push(corners.shift()!);
        corners.reverse();
      }
      rings.push(
        Int32Array.from({ length: 2 * corners.length }, (_, at) => this.#coordinate(corners[at >> 1]!, at & 1)),
      );
    });
    return { rings, outerOf };
  }

  #coordinate(corner: number, axis: number): number {
    const edge = this.#edges[corner >> 1]!;
    return axis === 1 ? this.#top + edge.y : this.#left + ((corner & 1) === 0 ? edge.x0 : edge.x1);
  }
}

// A side of a simplified ring: from one corner that is kept to the next one, by their numbers. The last side of a ring ends
// where the ring does, and so at its first corner.
interface Side {
  ring: number;
  first: number;
  last: number;
  ax: number;
  ay: number;
  bx: number;
  by: number;
}

class Simplifier {
  readonly #limit: number;
  readonly #rings: readonly Ring[];
  readonly #keep: Uint8Array[];

  constructor(tolerance: number, rings: readonly Ring[]) {
    this.#limit = tolerance * tolerance;
    this.#rings = rings;
    this.#keep = rings.map((ring) => new Uint8Array(ring.length / 2));
  }

  run(): Ring[] {
    for (const ring of this.#rings.keys()) this.#simplify(ring);
    // Lines may cross where an outline comes close to itself or to another. Such ones get a corner back, until none do: with
    // all of their corners, outlines touch at most.
    while (this.#refineCrossingSides());
    return this.#rings.map((corners, ring) => corners.filter((_, at) => this.#keep[ring]![at >> 1] === 1));
  }

  // The corner between two others that is furthest from the line to (bx, by), and its squared distance; `first` and -1 if
  // there is none between them.
  #furthest(ring: number, first: number, last: number, bx: number, by: number): { at: number; distance: number } {
    const corners = this.#rings[ring]!;
    const ax = corners[2 * first]!;
    const ay = corners[2 * first + 1]!;
    const dx = bx - ax;
    const dy = by - ay;
    const length = dx * dx + dy * dy;
    const found = { at: first, distance: -1 };
    for (let i = first + 1; i < last; ++i) {
      let px = corners[2 * i]! - ax;
      let py = corners[2 * i + 1]! - ay;
      const along = length > 0 ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
      px -= along * dx;
      py -= along * dy;
      const distance = px * px + py * py;
      if (distance > found.distance) {
        found.at = i;
        found.distance = distance;
      }
    }
    return found;
  }

  // The same, of the line to a corner; the corner behind the last one is the first.
  #furthestTo(ring: number, first: number, last: number): { at: number; distance: number } {
    const corners = this.#rings[ring]!;
    const to = 2 * last === corners.length ? 0 : last;
    return this.#furthest(ring, first, last, corners[2 * to]!, corners[2 * to + 1]!);
  }

  #simplify(ring: number): void {
    const keep = this.#keep[ring]!;
    const end = keep.length;
    const opposite = this.#furthestTo(ring, 0, end).at;
    keep[0] = keep[opposite] = 1;
    const before = this.#furthestTo(ring, 0, opposite).distance;
    const after = this.#furthestTo(ring, opposite, end).distance;
    // Where both halves are flat a third corner is kept all the same, that there is something inside.
    const flat = Math.max(before, after) <= this.#limit;
    this.#divide(ring, 0, opposite, flat && before >= after ? -1 : this.#limit);
    this.#divide(ring, opposite, end, flat && before < after ? -1 : this.#limit);
  }

  // Keeps the corner between two others that is furthest from the line, where it is further than `limit`, and then more of
  // them until all are near enough to the lines.
  #divide(ring: number, first: number, last: number, limit: number): void {
    const parts: [number, number, number][] = [[first, last, limit]];
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      const { at, distance } = this.#furthestTo(ring, part[0], part[1]);
      if (distance <= part[2]) continue;
      this.#keep[ring]![at] = 1;
      parts.push([part[0], at, this.#limit], [at, part[1], this.#limit]);
    }
  }

  #sides(): Side[] {
    const sides: Side[] = [];
    this.#rings.forEach((corners, ring) => {
      const keep = this.#keep[ring]!;
      let first = 0;
      for (let i = 1; i <= keep.length; ++i) {
        if (i < keep.length && keep[i] === 0) continue;
        const to = i === keep.length ? 0 : i;
        sides.push({
          ring,
          first,
          last: i,
          ax: corners[2 * first]!,
          ay: corners[2 * first + 1]!,
          bx: corners[2 * to]!,
          by: corners[2 * to + 1]!,
        });
        first = i;
      }
    });
    return sides;
  }

  // Keeps one more corner of each side that crosses another; false if none do. Sides are compared with those of the same
  // band of rows, from left to right, as long as their columns overlap.
  #refineCrossingSides(): boolean {
    const bandBits = 4;
    const bands: (Side[] | undefined)[] = [];
    for (const side of this.#sides()) {
      const last = Math.max(side.ay, side.by) >> bandBits;
      for (let band = Math.min(side.ay, side.by) >> bandBits; band <= last; ++band) {
        bands[band] ??= [];
        bands[band]!.push(side);
      }
    }
    const left = (side: Side): number => Math.min(side.ax, side.bx);
    let crossing = false;
    for (const band of bands) {
      if (band === undefined) continue; // above the topmost
      band.sort((a, b) => left(a) - left(b));
      band.forEach((side, i) => {
        const right = Math.max(side.ax, side.bx);
        for (let j = i + 1; j < band.length && left(band[j]!) < right; ++j) {
          const other = band[j]!;
          if (!cross(side, other)) continue;
          crossing = true;
          for (const { ring, first, last } of [side, other]) {
            this.#divide(ring, first, last, -1);
          }
        }
      });
    }
    return crossing;
  }
}

// Whether two sides cross, which is more than to touch.
function cross(a: Side, b: Side): boolean {
  const apart = (p: number, q: number): boolean => (p < 0 && q > 0) || (p > 0 && q < 0);
  return apart(turn(a, b.ax, b.ay), turn(a, b.bx, b.by)) && apart(turn(b, a.ax, a.ay), turn(b, a.bx, a.by));
}

// Which side of a side's line a corner is on: positive, negative, or 0 on it.
function turn(side: Side, x: number, y: number): number {
  return (side.bx - side.ax) * (y - side.ay) - (side.by - side.ay) * (x - side.ax);
}
