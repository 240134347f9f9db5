// Asks the worker for RLEs and outlines, and keeps the outlines of RLEs that are drawn again and again.
import type { Rle } from "../core/rle";
import type { AnyMask } from "../engines/engine";
import type { Outline, Task } from "./masks.worker";

/** An outline as a canvas draws it, in pixels of the photo. */
export type Shape = Path2D;

let worker: Worker | null = null;
const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
let next = 0;

/** Loads the worker, so that masks can be drawn whether or not there is a network later. */
export function prepareMasks(): void {
  worker ??= start();
}

function ask<T>(task: Task, transfer: Transferable[] = []): Promise<T> {
  prepareMasks();
  const id = next++;
  return new Promise<T>((resolve, reject) => {
    waiting.set(id, { resolve: resolve as (value: never) => void, reject });
    worker!.postMessage({ id, task }, transfer);
  });
}

function start(): Worker {
  const made = new Worker(new URL("./masks.worker.ts", import.meta.url), { type: "module" });
  made.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id)!;
    waiting.delete(id);
    if (error === undefined) resolve(result as never);
    else reject(new Error(error));
  };
  made.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message));
    waiting.clear();
    worker = null;
  };
  return made;
}

/** The outline of a mask; logits are taken over. */
export async function shapeOf(mask: AnyMask, tolerance: number): Promise<Shape> {
  return pathOf(await ask<Outline>({ kind: "outline", mask, tolerance }));
}

function pathOf({ coordinates, lengths }: Outline): Shape {
  const path = new Path2D();
  let at = 0;
  for (const length of lengths) {
    path.moveTo(coordinates[at]!, coordinates[at + 1]!);
    for (let i = 2; i < length; i += 2) path.lineTo(coordinates[at + i]!, coordinates[at + i + 1]!);
    path.closePath();
    at += length;
  }
  return path;
}

/** How much outlines may be simplified where a pixel of the photo has so many on the screen: steps, to keep few of them. */
export function toleranceAt(scale: number): number {
  if (scale >= 3) return 0; // pixels are seen
  const needed = 0.6 / scale;
  return needed <= 0.75 ? 0.75 : 0.75 * 2 ** Math.floor(Math.log2(needed / 0.75));
}

/** Outlines of RLEs, each at the last tolerance it was asked for. */
export class Shapes {
  #known = new WeakMap<Rle, { tolerance: number; shape: Shape | null; asked: number | null }>();
  #tolerance = 0.75; // that was asked for last

  /** @param changed called when an outline that was asked for has come. */
  constructor(readonly changed: () => void) {}

  /** The outline; until it has come, the one of another tolerance, or null. */
  get(rle: Rle, tolerance: number): Shape | null {
    this.#tolerance = tolerance;
    let known = this.#known.get(rle);
    if (known === undefined) this.#known.set(rle, (known = { tolerance: -1, shape: null, asked: null }));
    if (known.tolerance !== tolerance && known.asked !== tolerance) {
      const entry = known;
      entry.asked = tolerance;
      shapeOf({ kind: "rle", rle }, tolerance).then(
        (shape) => {
          if (entry.asked !== tolerance) return;
          Object.assign(entry, { shape, tolerance, asked: null });
          this.changed();
        },
        () => {
          entry.asked = null;
        },
      );
    }
    return known.shape;
  }

  /** RLEs of new masks, whose pixels are taken over; one of them has its outline by then, so that nothing blinks. */
  async encode(masks: readonly AnyMask[], outlined: number): Promise<Rle[]> {
    const tolerance = this.#tolerance;
    const pixels = masks.flatMap((mask) => (mask.kind === "mask" ? [mask.mask] : []));
    let rles = masks.flatMap((mask) => (mask.kind === "rle" ? [mask.rle] : []));
    let shape: Shape;
    if (rles.length === masks.length) shape = await shapeOf(masks[outlined]!, tolerance);
    else {
      if (pixels.length < masks.length) throw new Error("masks: expected all of one kind and of the photo's size");
      const transfer = [...new Set(pixels.map(({ data }) => data.buffer as ArrayBuffer))]; // several may share one
      const task: Task = { kind: "encode", masks: pixels, outlined, tolerance };
      const found = await ask<{ rles: Rle[]; outline: Outline }>(task, transfer);
      rles = found.rles;
      shape = pathOf(found.outline);
    }
    this.#known.set(rles[outlined]!, { tolerance, shape, asked: null });
    return rles;
  }
}
