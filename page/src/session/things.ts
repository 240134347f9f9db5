// What people do to the things of a photo. Every change is a step that undo takes back.
import { contains } from "../canvas/hit";
import {
  addThing,
  amend,
  changeThing,
  type Document,
  edit,
  findThing,
  type Prompts,
  redo,
  removeThing,
  type Thing,
  thingRle,
  undo,
} from "../core/annotations";
import type { Stroke } from "../core/mask";
import { areaOfRle } from "../core/rle";
import { ready } from "./engines";
import { clamp, dropHover, fillMissing, predict } from "./predicting";
import { active, announce, canRedo, canUndo, doc, everything, history, notify } from "./state";

/** The next state of what is said about the photo; see `edit`. */
export function change(next: Document, joint: string | null = null): void {
  history.value = edit(history.value!, next, joint);
}

/** Clicks at a place of the photo: on the active thing, or on a new one. */
export function click(x: number, y: number, label: 0 | 1): void {
  const state = doc.value;
  if (!state || !ready()) return;
  const point = { x: clamp(x, state.width), y: clamp(y, state.height), label };
  const thing = active.value;
  if (!thing && label === 0) {
    notify("First click on something; then say what does not belong to it.");
    return;
  }
  const prompts: Prompts = thing
    ? { ...thing.prompts, points: [...thing.prompts.points, point] }
    : { points: [point], box: null };
  change(thing ? changeThing(state, thing.id, { prompts }) : addThing(state, { prompts }));
  void predict(doc.value!.active!, prompts);
}

/** Draws a box around a new thing. */
export function box(x0: number, y0: number, x1: number, y1: number): void {
  const state = doc.value;
  if (!state || !ready()) return;
  const [left, right] = [x0, x1].sort((a, b) => a - b).map((x) => Math.round(Math.max(0, Math.min(state.width, x))));
  const [top, bottom] = [y0, y1].sort((a, b) => a - b).map((y) => Math.round(Math.max(0, Math.min(state.height, y))));
  if (right! - left! < 1 || bottom! - top! < 1) return;
  const prompts: Prompts = { points: [], box: [left!, top!, right!, bottom!] };
  change(addThing(state, { prompts }));
  void predict(doc.value!.active!, prompts);
}

/** Paints on the active thing, or on a new one. */
export function paintStroke(stroke: Stroke): void {
  const state = doc.value;
  if (!state) return;
  const thing = active.value;
  if (!thing && stroke.erase) {
    notify("First choose the object to erase from.");
    return;
  }
  if (thing) change(changeThing(state, thing.id, { strokes: [...thing.strokes, stroke] }));
  else change(addThing(state, { strokes: [stroke] }));
  announce(stroke.erase ? "Erased." : "Painted.");
}

export function activate(id: number | null): void {
  if (!doc.value || doc.value.active === id) return;
  history.value = amend(history.value!, { ...doc.value, active: id });
  const thing = active.value;
  if (thing) announce(`${thing.name} ${thing.id} chosen.`);
}

/** The next click begins a new thing. */
export function finish(): void {
  const thing = active.value;
  dropHover();
  if (everything.value) everything.value = null;
  else if (thing) {
    activate(null);
    announce(`${thing.name} ${thing.id} done; the next click begins another.`);
  }
}

export function choose(index: number, joint: string | null = null): void {
  const thing = active.value;
  if (!thing || index === thing.chosen || index < 0 || index >= thing.candidates.length) return;
  change(changeThing(doc.value!, thing.id, { chosen: index }), joint);
  announce(`Candidate ${index + 1} of ${thing.candidates.length}.`);
}

export function rename(id: number, name: string): void {
  if (doc.value) change(changeThing(doc.value, id, { name }), `name ${id}`);
}

export function recolour(id: number, colour: string): void {
  if (doc.value) change(changeThing(doc.value, id, { colour }), `colour ${id}`);
}

export function setHidden(id: number, hidden: boolean): void {
  if (doc.value) change(changeThing(doc.value, id, { hidden }));
}

export function remove(id: number): void {
  const thing = doc.value && findThing(doc.value, id);
  if (!thing) return;
  dropHover();
  change(removeThing(doc.value!, id));
  announce(`${thing.name} ${id} deleted.`);
}

export function goBack(): void {
  if (!history.value || !canUndo.value) return;
  dropHover();
  history.value = undo(history.value);
  announce("Undone.");
  fillMissing();
}

export function goForth(): void {
  if (!history.value || !canRedo.value) return;
  dropHover();
  history.value = redo(history.value);
  announce("Done again.");
  fillMissing();
}

/** The thing at a place, the smallest where several are; hidden ones are not there. */
export function thingAt(x: number, y: number): Thing | null {
  const state = doc.value;
  if (!state) return null;
  const there = state.things.flatMap((thing) => {
    const rle = thingRle(state, thing);
    return thing.hidden || !contains(rle, x, y) ? [] : [{ thing, area: areaOfRle(rle) }];
  });
  return there.sort((a, b) => a.area - b.area)[0]?.thing ?? null;
}
