// What the page knows: the signals that panels and canvas read, what it holds besides, and how it speaks to people.
import { computed, signal } from "@preact/signals";
import type { Shape } from "../canvas/masks";
import { activeThing, type Document, type History, type Photo, type Thing } from "../core/annotations";
import { type Store, StoreError } from "../core/store";
import { type Encoded, type Engine, EngineError, type Found, type Kind, type ModelInfo } from "../engines/engine";
import type { Entry } from "../photos";

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

export function complain(error: unknown): void {
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

/** What nobody sees. */
export const held: {
  engine: Engine | null;
  /** The photo that is open, as `engine` takes it. */
  encoded: Encoded | null;
  store: Store | null;
} = { engine: null, encoded: null, store: null };

export function setting<T>(key: string): Promise<T | undefined> {
  return held.store?.setting<T>(key).catch(() => undefined) ?? Promise.resolve(undefined);
}

export function saveSetting(key: string, value: unknown): void {
  held.store?.saveSetting(key, value).catch(complain);
}
