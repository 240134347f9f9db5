// What is said about one photo: its things, and every state before and after this one. States are never changed, only
// replaced, and share all that stays the same, so a history of hundreds of them costs little; masks are kept as RLEs.
import { type Mask, paint, type Stroke } from "./mask";
import { decode, emptyRle, encode, type Rle } from "./rle";

/** A photo as it was opened. */
export interface Photo {
  /** See `photoId`. */
  readonly id: string;
  /** Of its file, with the folders that it was opened with: "holiday/beach.jpg". */
  readonly name: string;
  /** In pixels, as it is shown: turned as its EXIF says. */
  readonly width: number;
  readonly height: number;
  /** SHA-256 of the file, in hexadecimal. */
  readonly digest: string;
  /** The file. */
  readonly blob: Blob;
}

/** A click. Places are x and y in pixels of the photo, as the model takes them. */
export interface Point {
  readonly x: number;
  readonly y: number;
  /** 1 on the thing, 0 beside it. */
  readonly label: 0 | 1;
}

/** What a thing was shown by. */
export interface Prompts {
  readonly points: readonly Point[];
  /** x0, y0, x1, y1. */
  readonly box: readonly [number, number, number, number] | null;
}

/** A mask that the model gave. */
export interface Candidate {
  readonly rle: Rle;
  /** Expected overlap (IoU) with the thing. */
  readonly score: number;
}

/** Something in the photo. */
export interface Thing {
  readonly id: number;
  /** Of its class; several things may share one. */
  readonly name: string;
  /** "#rrggbb" */
  readonly colour: string;
  readonly hidden: boolean;
  /** Without points and box where everything mode or the brush alone made the thing. */
  readonly prompts: Prompts;
  /** The model's answers to the prompts; none while they are awaited. */
  readonly candidates: readonly Candidate[];
  /** Which candidate is meant. */
  readonly chosen: number;
  /** What the brush did, on top of whichever candidate. */
  readonly strokes: readonly Stroke[];
}

/** A state of what is said about a photo. */
export interface Document {
  readonly width: number;
  readonly height: number;
  /** In the order they were made. */
  readonly things: readonly Thing[];
  /** Id of the thing that prompts go to; null where the next one begins a new thing. */
  readonly active: number | null;
  /** Id of the next new thing; also which colour it gets. */
  readonly next: number;
}

/** The states of one photo. */
export interface History {
  readonly past: readonly Document[];
  readonly present: Document;
  readonly future: readonly Document[];
  /** What the last change was part of; null where nothing can join it. */
  readonly joint: string | null;
}

export const NO_PROMPTS: Prompts = { points: [], box: null };

/** The name of things that got no other. */
export const DEFAULT_NAME = "object";

/** States before the present one that are kept, at most. */
export const DEPTH = 500;

/** Who a photo is: the same file under the same name is the same photo, whenever it is opened. */
export function photoId(digest: string, name: string): string {
  return `${digest}/${name}`;
}

/** A photo about which nothing is said yet. */
export function newDocument(width: number, height: number): Document {
  return { width, height, things: [], active: null, next: 1 };
}

/**
 * A vivid colour for the thing of number `index`, from 0 on: hues step by the golden ratio, which never repeats and leaves
 * the largest gaps between any few of them; every eighth step they become paler or darker. The first 24 are those of
 * evsam/overlay.py.
 */
export function thingColour(index: number): string {
  const hue = (0.58 + index * 0.6180339887) % 1;
  const [saturation, value] = (
    [
      [0.88, 1],
      [0.5, 1],
      [0.95, 0.7],
    ] as const
  )[Math.floor(index / 8) % 3]!;
  const part = (n: number): string => {
    const k = (n + hue * 6) % 6;
    const level = value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1));
    return Math.round(255 * level)
      .toString(16)
      .padStart(2, "0");
  };
  return `#${part(5)}${part(3)}${part(1)}`;
}

/** The document with a new thing, which becomes the active one. */
export function addThing(document: Document, thing: Partial<Omit<Thing, "id">> = {}): Document {
  const id = document.next;
  const made: Thing = {
    name: lastName(document),
    colour: thingColour(id - 1),
    hidden: false,
    prompts: NO_PROMPTS,
    candidates: [],
    chosen: 0,
    strokes: [],
    ...thing,
    id,
  };
  return { ...document, things: [...document.things, made], active: id, next: id + 1 };
}

// Whoever marks one car after the other need not say "car" each time.
function lastName(document: Document): string {
  return document.things[document.things.length - 1]?.name ?? DEFAULT_NAME;
}

/** The document with other values in one thing; the same document where there is no such thing. */
export function changeThing(document: Document, id: number, change: Partial<Omit<Thing, "id">>): Document {
  if (findThing(document, id) === undefined) return document;
  return { ...document, things: document.things.map((thing) => (thing.id === id ? { ...thing, ...change } : thing)) };
}

/** The document without a thing. */
export function removeThing(document: Document, id: number): Document {
  const things = document.things.filter((thing) => thing.id !== id);
  return { ...document, things, active: document.active === id ? null : document.active };
}

/** The thing of that id. */
export function findThing(document: Document, id: number | null): Thing | undefined {
  return document.things.find((thing) => thing.id === id);
}

/** The thing that prompts go to. */
export function activeThing(document: Document): Thing | undefined {
  return findThing(document, document.active);
}

// By strokes and then by what they were painted on: what is asked for at every frame is painted once.
const painted = new WeakMap<readonly Stroke[], WeakMap<Rle, Rle>>();
const empties = new WeakMap<readonly Stroke[], Rle>();

/** The mask of a thing: its chosen candidate, and on top of that what the brush did. */
export function thingRle(document: Document, thing: Thing): Rle {
  const { strokes } = thing;
  const chosen = thing.candidates[thing.chosen]?.rle;
  if (chosen !== undefined && strokes.length === 0) return chosen;
  let base = chosen ?? empties.get(strokes);
  if (base === undefined) {
    base = emptyRle(document.width, document.height);
    empties.set(strokes, base);
  }
  const known = painted.get(strokes) ?? new WeakMap<Rle, Rle>();
  painted.set(strokes, known);
  let rle = known.get(base);
  if (rle === undefined) {
    const mask = decode(base);
    for (const stroke of strokes) paint(mask, stroke);
    rle = encode(mask);
    known.set(base, rle);
  }
  return rle;
}

/** The pixels of `thingRle`; the caller's own. */
export function thingMask(document: Document, thing: Thing): Mask {
  return decode(thingRle(document, thing));
}

/** A history that begins with a document. */
export function newHistory(document: Document): History {
  return { past: [], present: document, future: [], joint: null };
}

/**
 * The next state. What could be redone is gone.
 *
 * @param joint one step of undo takes back all changes in a row with the same text: of the letters of a name, of a slider
 *   that is dragged.
 */
export function edit(history: History, document: Document, joint: string | null = null): History {
  if (document === history.present) return history;
  const joins = joint !== null && joint === history.joint;
  const past = joins ? history.past : [...history.past, history.present].slice(-DEPTH);
  return { past, present: document, future: [], joint };
}

/** What comes with the present state and is no step of its own: which thing is active. */
export function amend(history: History, document: Document): History {
  return { ...history, present: document };
}

/** The state before; the same history at its beginning. */
export function undo(history: History): History {
  const before = history.past[history.past.length - 1];
  if (before === undefined) return history;
  const future = [history.present, ...history.future];
  return { past: history.past.slice(0, -1), present: before, future, joint: null };
}

/** The state that was undone last; the same history where there is none. */
export function redo(history: History): History {
  const after = history.future[0];
  if (after === undefined) return history;
  return { past: [...history.past, history.present], present: after, future: history.future.slice(1), joint: null };
}

/**
 * The model's answer to prompts arrives some time after they were given, and others may have followed, or undo. It goes to
 * every state in which the thing has these very prompts (the object, not its values), so that undo and redo find masks.
 *
 * @param chosen which candidate to choose; the best one by default.
 */
export function settle(
  history: History,
  id: number,
  prompts: Prompts,
  candidates: readonly Candidate[],
  chosen = best(candidates),
): History {
  const changed = new Map<Thing, Thing>(); // states share things, and go on sharing them
  const settled = (document: Document): Document => {
    const thing = findThing(document, id);
    if (thing === undefined || thing.prompts !== prompts) return document;
    const after = changed.get(thing) ?? { ...thing, candidates, chosen };
    changed.set(thing, after);
    const things = document.things.map((each) => (each === thing ? after : each));
    return { ...document, things };
  };
  return {
    past: history.past.map(settled),
    present: settled(history.present),
    future: history.future.map(settled),
    joint: history.joint,
  };
}

/** The place of the highest score. */
export function best(candidates: readonly Candidate[]): number {
  let found = 0;
  candidates.forEach((candidate, index) => {
    if (candidate.score > candidates[found]!.score) found = index;
  });
  return found;
}
