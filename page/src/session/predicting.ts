// Masks for prompts: of clicks that were made, and of one that the pointer could make.
import { signal } from "@preact/signals";
import { Latest } from "../canvas/latest";
import { type Shape, Shapes, shapeOf, toleranceAt } from "../canvas/masks";
import { findThing, NO_PROMPTS, newDocument, type Prompts, settle, undo } from "../core/annotations";
import { bestAnswer } from "../engines/engine";
import { active, announce, complain, doc, everything, held, history, hover, outlines } from "./state";

export const shapes = new Shapes(() => outlines.value++);

// Told to the browser's tools and to benchmarks/web: how long people wait for a mask.
function timed(name: "preview" | "click", begin: number): void {
  if (performance.getEntriesByName(name).length >= 1000) performance.clearMeasures(name);
  performance.measure(name, { start: begin });
}

let pending = 0;
/** How many clicks wait for their masks. */
export const predicting = signal(false);

/** Asks for the masks of a thing. They go to it as long as it has these prompts. */
export async function predict(id: number, prompts: Prompts): Promise<void> {
  const [asked, from] = [held.engine, held.encoded];
  if (!asked || !from) return;
  dropHover(true);
  predicting.value = ++pending > 0;
  const begin = performance.now();
  try {
    const answers = await asked.predict(from, prompts);
    if (from !== held.encoded || !history.value) return;
    const scores = answers.map(({ score }) => score);
    const masks = answers.map(({ mask }) => mask);
    const rles = await shapes.encode(masks, scores.indexOf(Math.max(...scores)));
    const candidates = rles.map((rle, index) => ({ rle, score: scores[index]! }));
    if (from !== held.encoded || !history.value) return;
    history.value = settle(history.value, id, prompts, candidates);
    hover.value = null;
    timed("click", begin);
    const percent = Math.round(100 * Math.max(...candidates.map(({ score }) => score)));
    announce(
      `Mask ready, ${percent} percent sure${candidates.length > 1 ? `, ${candidates.length} to choose from` : ""}.`,
    );
  } catch (error) {
    if (from !== held.encoded) return;
    const thing = findThing(history.value?.present ?? newDocument(1, 1), id);
    if (history.value && thing?.prompts === prompts) history.value = undo(history.value);
    complain(error);
  } finally {
    predicting.value = --pending > 0;
  }
}

/** Asks again for things whose masks did not come before a reload, or before an undo. */
export function fillMissing(): void {
  if (!held.encoded) return;
  for (const thing of doc.value?.things ?? []) {
    const asked = thing.prompts.points.length > 0 || thing.prompts.box !== null;
    if (asked && thing.candidates.length === 0) void predict(thing.id, thing.prompts);
  }
}

// ---- The pointer ----

const latest = new Latest<Shape | null>((shape) => {
  hover.value = shape;
});

/** Shows what a click at a place would give. */
export function preview(x: number, y: number, label: 0 | 1, scale: number): void {
  const [asked, from, state] = [held.engine, held.encoded, doc.value];
  if (!asked || !from || !state || everything.value || predicting.value) return;
  const thing = active.value;
  if (!thing && label === 0) {
    dropHover();
    return;
  }
  const point = { x: clamp(x, state.width), y: clamp(y, state.height), label };
  const prompts = thing
    ? { ...thing.prompts, points: [...thing.prompts.points, point] }
    : { ...NO_PROMPTS, points: [point] };
  latest.ask(async (wanted) => {
    const begin = performance.now();
    const answer = bestAnswer(await asked.predict(from, prompts, true));
    if (!wanted()) return null; // a click's mask comes first
    const shape = answer ? await shapeOf(answer.mask, toleranceAt(scale)) : null;
    timed("preview", begin);
    return shape;
  });
}

/** @param keep what is shown stays, until the mask is there that was clicked for. */
export function dropHover(keep = false): void {
  latest.drop();
  if (!keep) hover.value = null;
}

/** The pixel that a place is in, which may be a little outside of the photo. */
export const clamp = (at: number, size: number): number => Math.max(0, Math.min(size - 1, Math.floor(at)));
