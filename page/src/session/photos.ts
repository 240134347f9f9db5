// The photos of the session: which is open, what is stored of them.
import { batch, effect } from "@preact/signals";
import { prepareMasks } from "../canvas/masks";
import { type Document, type History, newDocument, newHistory, type Photo } from "../core/annotations";
import { Autosave, Store, StoreError } from "../core/store";
import { type Entry, entryOfPhoto, readPhoto, thumbnailOf } from "../photos";
import { encodeCurrent, leaveEncoded, startEngine } from "./engines";
import { fillMissing } from "./predicting";
import {
  announce,
  complain,
  current,
  currentKey,
  doc,
  entries,
  held,
  history,
  notify,
  photoState,
  picture,
} from "./state";

let autosave: Autosave | null = null;
let stored = 0; // bytes of photos of this session in the store
const MOST_STORED = 1 << 30;

/** Begins where the last session ended. */
export async function start(): Promise<void> {
  prepareMasks();
  try {
    held.store = await Store.open();
    held.store.onForeignSave = (id, revision) => {
      if (picture.value?.photo.id === id && autosave && revision > autosave.revision)
        void loadHistory(picture.value.photo);
    };
  } catch (error) {
    complain(error);
  }
  void startEngine();
  await restore().catch(complain);
}

async function restore(): Promise<void> {
  if (!held.store) return;
  const session = await held.store.session();
  const found = await held.store.photos(session.photos);
  const restored = await Promise.all(
    found.map(async (photo) => {
      stored += photo.blob.size;
      return entryOfPhoto(photo, (await held.store!.annotations(photo.id))?.history.present.things.length ?? 0);
    }),
  );
  if (restored.length === 0 || entries.value.length > 0) return;
  entries.value = restored;
  const last = restored.find((entry) => entry.photo!.id === session.current) ?? restored[0]!;
  await open(last.key);
  void index();
  void held.store.prunePhotos().catch(() => {});
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
    if (held.engine) await encodeCurrent();
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
  leaveEncoded();
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
  void held.store?.prunePhotos().catch(() => {});
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
  const saved = await held.store?.annotations(photo.id).catch(() => undefined);
  if (held.store) {
    autosave = new Autosave(held.store, photo.id, saved?.revision ?? 0, (error) => {
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
    if (held.store && stored + photo.blob.size <= MOST_STORED && !(await held.store.photo(photo.id))) {
      await held.store.putPhotos([photo]);
      stored += photo.blob.size;
    }
  } catch (error) {
    complain(error);
  }
  await saveSession();
}

async function saveSession(): Promise<void> {
  const photos = entries.value.flatMap(({ photo }) => (photo ? [photo.id] : []));
  await held.store?.saveSession({ photos, current: current.value?.photo?.id ?? null }).catch(complain);
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
      const things = (await held.store?.annotations(photo.id))?.history.present.things.length ?? 0;
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

/** What is said about a photo of the session, as it is stored. */
export async function documentOf(entry: Entry): Promise<Document | null> {
  if (entry.key === currentKey.value) return doc.value;
  if (!entry.photo || !held.store) return null;
  return (await held.store.annotations(entry.photo.id))?.history.present ?? null;
}
