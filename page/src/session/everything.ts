// Everything mode: all that is in the photo, to pick from.
import { effect } from "@preact/signals";
import { contains } from "../canvas/hit";
import { addThing, thingColour } from "../core/annotations";
import { ready } from "./engines";
import { dropHover } from "./predicting";
import { announce, complain, doc, everything, held, notify } from "./state";
import { activate, change } from "./things";

let search = new AbortController();

// Whoever ends everything mode ends the search, too.
effect(() => {
  if (everything.value === null) search.abort();
});

export async function findEverything(): Promise<void> {
  if (everything.value) {
    stopEverything();
    return;
  }
  if (!ready() || !held.engine || !held.encoded) return;
  dropHover();
  activate(null);
  search = new AbortController();
  const { signal } = search;
  everything.value = { phase: "searching", part: null };
  announce("Searching for everything in the photo.");
  try {
    const found = await held.engine.everything(
      held.encoded,
      (part) => {
        if (!signal.aborted) everything.value = { phase: "searching", part };
      },
      signal,
    );
    if (signal.aborted) return;
    const first = (doc.value?.next ?? 1) - 1;
    everything.value = {
      phase: "found",
      all: found.map((one, index) => ({ ...one, colour: thingColour(first + index), picked: false })),
    };
    announce(`${found.length} objects found: click on those to keep.`);
    if (found.length === 0) stopEverything("Nothing was found in this photo.");
  } catch (error) {
    if (signal.aborted) return;
    stopEverything();
    complain(error);
  }
}

export function stopEverything(why?: string): void {
  everything.value = null;
  if (why) notify(why);
}

/** What was found at a place: the smallest. Its place in the list. */
export function foundAt(x: number, y: number): number | null {
  if (everything.value?.phase !== "found") return null;
  let found: number | null = null;
  const { all } = everything.value;
  all.forEach((one, index) => {
    if (!one.picked && (found === null || one.area < all[found]!.area) && contains(one.rle, x, y)) found = index;
  });
  return found;
}

/** Keeps some of what was found as things. */
export function pick(indices: readonly number[]): void {
  const found = everything.value;
  if (found?.phase !== "found" || !doc.value || indices.length === 0) return;
  const chosen = new Set(indices.filter((index) => !found.all[index]?.picked));
  let state = doc.value;
  for (const index of chosen) {
    const { rle, score, colour } = found.all[index]!;
    state = addThing(state, { candidates: [{ rle, score }], colour });
  }
  change({ ...state, active: null });
  everything.value = {
    phase: "found",
    all: found.all.map((one, i) => (chosen.has(i) ? { ...one, picked: true } : one)),
  };
  announce(chosen.size === 1 ? "Kept." : `${chosen.size} objects kept.`);
  if (everything.value.all.every(({ picked }) => picked)) stopEverything();
}

export function pickAll(): void {
  if (everything.value?.phase === "found") pick(everything.value.all.map((_, index) => index));
}
