// What the page knows and does: photos, the one that is open and what is said about it, the engine, and what people see of
// all that. Panels and canvas read the signals and call these functions; nothing here knows of them.
import { batch, computed, effect, signal } from "@preact/signals";
import { contains } from "./canvas/hit";
import { Latest } from "./canvas/latest";
import { prepareMasks, type Shape, Shapes, shapeOf, toleranceAt } from "./canvas/masks";
import {
  activeThing,
  addThing,
  amend,
  changeThing,
  type Document,
  edit,
  findThing,
  type History,
  NO_PROMPTS,
  newDocument,
  newHistory,
  type Photo,
  type Prompts,
  redo,
  removeThing,
  settle,
  type Thing,
  thingColour,
  thingRle,
  undo,
} from "./core/annotations";
import type { Stroke } from "./core/mask";
import { areaOfRle } from "./core/rle";
import { Autosave, Store, StoreError } from "./core/store";
import {
  bestAnswer,
  type Encoded,
  type Engine,
  EngineError,
  type Found,
  type Kind,
  type ModelInfo,
} from "./engines/engine";
import { MixedEngine } from "./engines/mixed";
import { askModel, Server } from "./engines/server";
import { makeTabEngine } from "./engines/tab";
import { type Entry, entryOfPhoto, readPhoto, thumbnailOf } from "./photos";

export type Tool = "select" | "point" | "box" | "brush" | "eraser";

/** Where an engine stands. */
export type EngineState =
  | { readonly phase: "loading"; readonly part: number | null }
  | { readonly phase: "ready"; readonly model: ModelInfo }
  | { readonly phase: "token" }
  | { readonly phase: "failed"; readonly message: string };

/** Where the photo stands. */
export type PhotoState = "none" | "opening" | "encoding" | "ready" | "failed";

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly bad: boolean;
}

/** What everything mode has found, and how far it is. */
export type Everything =
  | { readonly phase: "searching"; readonly part: number | null }
  | {
      readonly phase: "found";
      readonly all: readonly (Found & { readonly colour: string; readonly picked: boolean })[];
    };

// ---- What people see ----

export const entries = signal<readonly Entry[]>([]);
export const currentKey = signal<number | null>(null);
export const current = computed(() => entries.value.find((entry) => entry.key === currentKey.value) ?? null);
export const picture = signal<{ readonly photo: Photo; readonly bitmap: ImageBitmap } | null>(null);
export const photoState = signal<PhotoState>("none");
export const history = signal<History | null>(null);
export const doc = computed<Document | null>(() => history.value?.present ?? null);
export const active = computed<Thing | null>(() => (doc.value && activeThing(doc.value)) ?? null);
export const tool = signal<Tool>("point");
/** Whether clicks say "not this", for fingers, which have no shift key. */
export const negative = signal(false);
/** Of the brush, in CSS pixels of the screen. */
export const brush = signal(18);
export const kind = signal<Kind>("tab");
export const engineState = signal<EngineState>({ phase: "loading", part: null });
/** The model of the server that the page comes from; "unknown" until a token is given, null where there is none. */
export const serverModel = signal<{ readonly variant: string; readonly device: string } | "unknown" | null>(null);
export const hover = signal<Shape | null>(null);
/** The thing that the pointer is on, in the canvas or in the list. */
export const pointed = signal<number | null>(null);
export const everything = signal<Everything | null>(null);
export const notices = signal<readonly Notice[]>([]);
/** What happened last, for screen readers. */
export const announcement = signal("");
/** Counts outlines that have come, for the canvas to draw them. */
export const outlines = signal(0);

export const canUndo = computed(() => (history.value?.past.length ?? 0) > 0);
export const canRedo = computed(() => (history.value?.future.length ?? 0) > 0);

export const shapes = new Shapes(() => outlines.value++);

// Told to the browser's tools and to benchmarks/web: how long people wait for a mask.
function timed(name: "preview" | "click", begin: number): void {
  if (performance.getEntriesByName(name).length >= 1000) performance.clearMeasures(name);
  performance.measure(name, { start: begin });
}

export function announce(text: string): void {
  announcement.value = text;
}

let noticeIds = 0;

export function notify(text: string, bad = false): void {
  const notice = { id: ++noticeIds, text, bad };
  notices.value = [...notices.value.filter((one) => one.text !== text), notice].slice(-3);
  announce(text);
  setTimeout(() => dismiss(notice.id), bad ? 12_000 : 5_000);
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((one) => one.id !== id);
}

function complain(error: unknown): void {
  if ((error as Error)?.name === "AbortError") return;
  if (error instanceof EngineError) {
    if (error.reason === "token") engineState.value = { phase: "token" };
    else notify(error.message, true);
    return;
  }
  if (error instanceof StoreError) {
    const words = {
      unavailable: "This browser keeps nothing here, so a reload forgets your work: export it.",
      quota: "There is no room left in this browser, so not all is kept over a reload: export your work.",
      conflict: "This photo was changed in another tab; you see what is there now.",
      closed: "A newer version of this page is open in another tab: reload this one.",
    };
    notify(words[error.problem], error.problem !== "conflict");
    return;
  }
  notify(`Something went wrong: ${(error as Error)?.message ?? error}`, true);
}

// ---- The engine ----

let engine: Engine | null = null;
let encoded: Encoded | null = null;
let server = new Server(null);
let work = new AbortController(); // of the photo that is open
let starting = new AbortController();

/** Takes another engine, and remembers that. */
export function chooseEngine(wanted: Kind): Promise<void> {
  store?.saveSetting("engine", wanted).catch(complain);
  return useEngine(wanted);
}

async function useEngine(wanted: Kind): Promise<void> {
  kind.value = wanted;
  starting.abort();
  starting = new AbortController();
  const { signal } = starting;
  leaveEngine();
  engineState.value = { phase: "loading", part: null };
  try {
    const made = await makeEngine(wanted, signal);
    if (signal.aborted) {
      made.close();
      return;
    }
    engine = made;
    engineState.value = { phase: "ready", model: made.model() };
    if (picture.value) void encodeCurrent();
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof EngineError && error.reason === "token") engineState.value = { phase: "token" };
    else engineState.value = { phase: "failed", message: (error as Error).message };
  }
}

async function makeEngine(wanted: Kind, signal: AbortSignal): Promise<Engine> {
  if (wanted === "tab") {
    return makeTabEngine((part) => {
      if (!signal.aborted) engineState.value = { phase: "loading", part };
    }, signal);
  }
  const model = await askModel(server);
  serverModel.value = model;
  if (model === null) throw new EngineError("unreachable", "This page comes from no evsam server.");
  return new MixedEngine(server, model);
}

/** Tries again with the token that the server wants. */
export function giveToken(token: string): void {
  sessionStorage.setItem("evsam-token", token);
  server = new Server(token);
  void chooseEngine("server");
}

function leaveEngine(): void {
  dropHover();
  work.abort();
  work = new AbortController();
  encoded?.close();
  encoded = null;
  engine?.close();
  engine = null;
  stopEverything();
  if (picture.value) photoState.value = "encoding";
}

async function encodeCurrent(): Promise<void> {
  const shown = picture.value;
  if (!shown || !engine) return;
  work.abort();
  work = new AbortController();
  const { signal } = work;
  encoded?.close();
  encoded = null;
  photoState.value = "encoding";
  try {
    const made = await engine.encode(shown.photo, signal);
    if (signal.aborted) {
      made.close();
      return;
    }
    encoded = made;
    photoState.value = "ready";
    announce("The photo is ready: point at something.");
    fillMissing();
  } catch (error) {
    if (signal.aborted) return;
    photoState.value = "failed";
    complain(error);
  }
}

/** Encodes the photo again, after an error. */
export function retry(): void {
  if (engineState.value.phase === "failed" || engine === null) void chooseEngine(kind.value);
  else void encodeCurrent();
}

// ---- Photos ----

let store: Store | null = null;
let autosave: Autosave | null = null;
let stored = 0; // bytes of photos of this session in the store
const MOST_STORED = 1 << 30;

/** Begins where the last session ended. */
export async function start(): Promise<void> {
  prepareMasks();
  server = new Server(sessionStorage.getItem("evsam-token"));
  try {
    store = await Store.open();
    store.onForeignSave = (id, revision) => {
      if (picture.value?.photo.id === id && autosave && revision > autosave.revision)
        void loadHistory(picture.value.photo);
    };
  } catch (error) {
    complain(error);
  }
  const asked = askModel(server).then(
    (model) => model,
    (error) => (error instanceof EngineError && error.reason === "token" ? "unknown" : null),
  );
  void asked.then((model) => {
    serverModel.value = model;
  });
  // Who starts a server with a model of his own wants that one, until he says otherwise.
  const chosen = await store?.setting<Kind>("engine").catch(() => undefined);
  void (chosen ? Promise.resolve(chosen) : asked.then(preferred)).then(useEngine);
  await restore().catch(complain);
}

function preferred(model: (typeof serverModel)["value"]): Kind {
  return model !== null && model !== "unknown" && model.variant !== "nano" ? "server" : "tab";
}

async function restore(): Promise<void> {
  if (!store) return;
  const session = await store.session();
  const found = await store.photos(session.photos);
  const restored = await Promise.all(
    found.map(async (photo) => {
      stored += photo.blob.size;
      return entryOfPhoto(photo, (await store!.annotations(photo.id))?.history.present.things.length ?? 0);
    }),
  );
  if (restored.length === 0 || entries.value.length > 0) return;
  entries.value = restored;
  const last = restored.find((entry) => entry.photo!.id === session.current) ?? restored[0]!;
  await open(last.key);
  void index();
  void store.prunePhotos().catch(() => {});
}

/** Adds photos, and opens the first of them. */
export async function add(added: readonly Entry[]): Promise<void> {
  if (added.length === 0) {
    notify("There is no photo in that.", true);
    return;
  }
  entries.value = [...entries.value, ...added];
  await open(added[0]!.key);
  void index();
}

/** Shows a photo. */
export async function open(key: number): Promise<void> {
  const entry = entries.value.find((one) => one.key === key);
  if (!entry || (key === currentKey.value && picture.value)) return;
  await leavePhoto();
  batch(() => {
    currentKey.value = key;
    photoState.value = "opening";
  });
  try {
    const photo = await readPhoto(entry);
    const same = twin(entry, photo);
    if (same) {
      if (currentKey.value !== key) return;
      drop(entry);
      await open(same.key);
      return;
    }
    const bitmap = await createImageBitmap(photo.blob);
    if (currentKey.value !== key) {
      bitmap.close();
      return;
    }
    replace(key, { photo });
    await loadHistory(photo);
    if (currentKey.value !== key) return;
    picture.value = { photo, bitmap };
    announce(`${photo.name}, ${photo.width} by ${photo.height} pixels.`);
    void keepPhoto(photo);
    if (engine) await encodeCurrent();
    else photoState.value = "encoding";
  } catch (error) {
    if (currentKey.value !== key) return;
    replace(key, { broken: true });
    photoState.value = "failed";
    if (error instanceof StoreError) complain(error);
    else notify(`${entry.name} cannot be shown: it is no photo that this browser reads, or damaged.`, true);
  }
}

async function leavePhoto(): Promise<void> {
  work.abort();
  dropHover();
  stopEverything();
  encoded?.close();
  encoded = null;
  batch(() => {
    picture.value?.bitmap.close();
    picture.value = null;
    history.value = null;
    photoState.value = "none";
  });
  await autosave?.done();
  autosave = null;
}

/** Takes a photo out of the session; what was said about it is found again when it is opened again. */
export async function removePhoto(key: number): Promise<void> {
  const place = entries.value.findIndex((entry) => entry.key === key);
  if (place < 0) return;
  const entry = entries.value[place]!;
  if (key === currentKey.value) {
    await leavePhoto();
    currentKey.value = null;
  }
  drop(entry);
  const rest = entries.value;
  if (currentKey.value === null && rest.length > 0) await open(rest[Math.min(place, rest.length - 1)]!.key);
  await saveSession();
  void store?.prunePhotos().catch(() => {});
}

/** The photo so many places further on. */
export function step(by: number): void {
  const place = entries.value.findIndex((entry) => entry.key === currentKey.value);
  const next = entries.value[place + by];
  if (next) void open(next.key);
}

// Another entry of the very same photo, which is shown once.
function twin(entry: Entry, photo: Photo): Entry | undefined {
  return entries.value.find((one) => one.key !== entry.key && one.photo?.id === photo.id);
}

function drop(entry: Entry): void {
  if (entry.thumbnail) URL.revokeObjectURL(entry.thumbnail);
  entries.value = entries.value.filter((one) => one.key !== entry.key);
}

function replace(key: number, change: Partial<Entry>): void {
  entries.value = entries.value.map((entry) => (entry.key === key ? { ...entry, ...change } : entry));
}

async function loadHistory(photo: Photo): Promise<void> {
  const saved = await store?.annotations(photo.id).catch(() => undefined);
  if (store) {
    autosave = new Autosave(store, photo.id, saved?.revision ?? 0, (error) => {
      complain(error);
      if (error instanceof StoreError && error.problem === "conflict") void loadHistory(photo);
    });
  }
  known = saved?.history ?? newHistory(newDocument(photo.width, photo.height)); // first: it need not be saved
  history.value = known;
  fillMissing();
}

let known: History | null = null; // what the store has

effect(() => {
  const state = history.value;
  const key = currentKey.peek();
  if (!state || state === known) return;
  known = state;
  autosave?.save(state);
  const count = state.present.things.length;
  if (key !== null && current.peek()?.things !== count) queueMicrotask(() => replace(key, { things: count }));
});

async function keepPhoto(photo: Photo): Promise<void> {
  try {
    if (store && stored + photo.blob.size <= MOST_STORED && !(await store.photo(photo.id))) {
      await store.putPhotos([photo]);
      stored += photo.blob.size;
    }
  } catch (error) {
    complain(error);
  }
  await saveSession();
}

async function saveSession(): Promise<void> {
  const photos = entries.value.flatMap(({ photo }) => (photo ? [photo.id] : []));
  await store?.saveSession({ photos, current: current.value?.photo?.id ?? null }).catch(complain);
}

let indexing = false;

// Looks at one photo after the other, while nothing else happens: thumbnails, and what is known about them.
async function index(): Promise<void> {
  if (indexing) return;
  indexing = true;
  for (;;) {
    const entry = entries.value.find((one) => one.thumbnail === null && !one.broken);
    if (!entry) break;
    await new Promise((done) =>
      "requestIdleCallback" in window ? requestIdleCallback(done, { timeout: 2000 }) : setTimeout(done, 50),
    );
    if (photoState.value === "encoding" || photoState.value === "opening") {
      await new Promise((done) => setTimeout(done, 100));
    }
    try {
      const photo = await readPhoto(entry);
      if (entry.photo === null && entry.key !== currentKey.value && twin(entry, photo)) {
        drop(entry);
        continue;
      }
      const thumbnail = await thumbnailOf(photo);
      const things = (await store?.annotations(photo.id))?.history.present.things.length ?? 0;
      const now = entries.value.find((one) => one.key === entry.key);
      if (!now) URL.revokeObjectURL(thumbnail);
      else replace(entry.key, { photo, thumbnail, things: now.key === currentKey.value ? now.things : things });
      if (!entry.photo) await keepPhoto(photo);
    } catch {
      replace(entry.key, { broken: true });
    }
  }
  indexing = false;
}

// ---- Things ----

function change(next: Document, joint: string | null = null): void {
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

function ready(): boolean {
  if (encoded) return true;
  if (photoState.value === "encoding") notify("One moment: the photo is being looked at.");
  else if (photoState.value === "failed") retry();
  return false;
}

const clamp = (at: number, size: number): number => Math.max(0, Math.min(size - 1, Math.floor(at)));

let pending = 0;
/** How many clicks wait for their masks. */
export const predicting = signal(false);

async function predict(id: number, prompts: Prompts): Promise<void> {
  const [asked, from] = [engine, encoded];
  if (!asked || !from) return;
  dropHover(true);
  predicting.value = ++pending > 0;
  const begin = performance.now();
  try {
    const answers = await asked.predict(from, prompts);
    if (from !== encoded || !history.value) return;
    const scores = answers.map(({ score }) => score);
    const masks = answers.map(({ mask }) => mask);
    const rles = await shapes.encode(masks, scores.indexOf(Math.max(...scores)));
    const candidates = rles.map((rle, index) => ({ rle, score: scores[index]! }));
    if (from !== encoded || !history.value) return;
    history.value = settle(history.value, id, prompts, candidates);
    hover.value = null;
    timed("click", begin);
    const percent = Math.round(100 * Math.max(...candidates.map(({ score }) => score)));
    announce(
      `Mask ready, ${percent} percent sure${candidates.length > 1 ? `, ${candidates.length} to choose from` : ""}.`,
    );
  } catch (error) {
    if (from !== encoded) return;
    const thing = findThing(history.value?.present ?? newDocument(1, 1), id);
    if (history.value && thing?.prompts === prompts) history.value = undo(history.value);
    complain(error);
  } finally {
    predicting.value = --pending > 0;
  }
}

// Things whose masks did not come before a reload, or before an undo.
function fillMissing(): void {
  if (!encoded) return;
  for (const thing of doc.value?.things ?? []) {
    const asked = thing.prompts.points.length > 0 || thing.prompts.box !== null;
    if (asked && thing.candidates.length === 0) void predict(thing.id, thing.prompts);
  }
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
  if (everything.value) stopEverything();
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

// ---- The pointer ----

const latest = new Latest<Shape | null>((shape) => {
  hover.value = shape;
});

/** Shows what a click at a place would give. */
export function preview(x: number, y: number, label: 0 | 1, scale: number): void {
  const [asked, from, state] = [engine, encoded, doc.value];
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

// ---- Everything ----

let search = new AbortController();

export async function findEverything(): Promise<void> {
  if (everything.value) {
    stopEverything();
    return;
  }
  if (!ready() || !engine || !encoded) return;
  dropHover();
  activate(null);
  search = new AbortController();
  const { signal } = search;
  everything.value = { phase: "searching", part: null };
  announce("Searching for everything in the photo.");
  try {
    const found = await engine.everything(
      encoded,
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
  search.abort();
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

/** What is said about a photo of the session, as it is stored. */
export async function documentOf(entry: Entry): Promise<Document | null> {
  if (entry.key === currentKey.value) return doc.value;
  if (!entry.photo || !store) return null;
  return (await store.annotations(entry.photo.id))?.history.present ?? null;
}

export function setting<T>(key: string): Promise<T | undefined> {
  return store?.setting<T>(key).catch(() => undefined) ?? Promise.resolve(undefined);
}

export function saveSetting(key: string, value: unknown): void {
  store?.saveSetting(key, value).catch(complain);
}
