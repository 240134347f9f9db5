// What takes too long for the thread that follows the pointer: masks to RLEs and back, and their outlines.
import { type Polygon, tracePolygons } from "../core/contours";
import type { Mask } from "../core/mask";
import { encode } from "../core/rle";
import type { AnyMask } from "../engines/engine";
import { maskOfLogits } from "./logits";

export type Task =
  /** The outline of a mask, simplified by so many pixels. */
  | { readonly kind: "outline"; readonly mask: AnyMask; readonly tolerance: number }
  /** RLEs of masks, and the outline of one of them. */
  | { readonly kind: "encode"; readonly masks: readonly Mask[]; readonly outlined: number; readonly tolerance: number };

/** An outline: rings of x, y, one after the other, and how many numbers each has. */
export interface Outline {
  readonly coordinates: Float32Array;
  readonly lengths: Uint32Array;
}

function outline(mask: AnyMask, tolerance: number): Outline {
  if (mask.kind === "rle") return flat(tracePolygons(mask.rle, tolerance), 1);
  if (mask.kind === "mask") return flat(tracePolygons(mask.mask, tolerance), 1);
  const drawn = maskOfLogits(mask.logits, mask.width, mask.height);
  const scale = mask.width / drawn.width;
  return flat(tracePolygons(drawn, Math.max(0.75, tolerance / scale)), scale);
}

function flat(polygons: readonly Polygon[], scale: number): Outline {
  const rings = polygons.flatMap(({ outer, holes }) => [outer, ...holes]);
  const coordinates = new Float32Array(rings.reduce((sum, ring) => sum + ring.length, 0));
  let at = 0;
  for (const ring of rings) {
    for (let i = 0; i < ring.length; ++i) coordinates[at + i] = ring[i]! * scale;
    at += ring.length;
  }
  return { coordinates, lengths: Uint32Array.from(rings, (ring) => ring.length) };
}

function answer(task: Task): [unknown, ArrayBufferLike[]] {
  if (task.kind === "encode") {
    const rles = task.masks.map(encode);
    const drawn = outline({ kind: "mask", mask: task.masks[task.outlined]! }, task.tolerance);
    return [{ rles, outline: drawn }, [drawn.coordinates.buffer, drawn.lengths.buffer]];
  }
  const found = outline(task.mask, task.tolerance);
  return [found, [found.coordinates.buffer, found.lengths.buffer]];
}

self.onmessage = ({ data: { id, task } }: MessageEvent<{ id: number; task: Task }>) => {
  try {
    const [result, transfer] = answer(task);
    self.postMessage({ id, result }, { transfer: transfer as ArrayBuffer[] });
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
};
