// What survives a reload, in the browser's IndexedDB: photos, what is said about them, which were open, and settings.
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { History, Photo } from "./annotations";

/** The photos that were open. */
export interface Session {
  /** Their ids, in their order. */
  readonly photos: readonly string[];
  /** The one that was shown. */
  readonly current: string | null;
}

/** What is stored about a photo. */
export interface Saved {
  readonly history: History;
  /** Counts the times it was saved, from 1 on. */
  readonly revision: number;
}

/**
 * - unavailable: the browser stores nothing, as some do in private windows; all else works without.
 * - quota: there is no room; nothing of the call is stored.
 * - conflict: another tab has saved the photo's annotations since this one read or saved them.
 * - closed: a newer version of the page, in another tab, needs other tables.
 */
export type StoreProblem = "unavailable" | "quota" | "conflict" | "closed";

export class StoreError extends Error {
  override name = "StoreError";
  readonly problem: StoreProblem;

  constructor(problem: StoreProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.problem = problem;
  }
}

interface Schema extends DBSchema {
  photos: { key: string; value: Photo };
  annotations: { key: string; value: Saved };
  settings: { key: string; value: unknown };
}

/** States to go back to that are kept over a reload, at most. */
export const SAVED_DEPTH = 100;

const VERSION = 1;
const SESSION = "session"; // among the settings

interface Notice {
  readonly photo: string;
  readonly revision: number;
}

export class Store {
  readonly #database: IDBPDatabase<Schema>;
  readonly #channel: BroadcastChannel | undefined;
  /** Told where another tab has saved a photo's annotations. */
  onForeignSave: (photo: string, revision: number) => void = () => {};

  /**
   * Opens the store, which is made where there is none.
   *
   * @throws StoreError `unavailable`
   */
  static async open(name = "evsam"): Promise<Store> {
    try {
      let superseded = false;
      const database = await openDB<Schema>(name, VERSION, {
        upgrade(fresh) {
          fresh.createObjectStore("photos", { keyPath: "id" });
          fresh.createObjectStore("annotations");
          fresh.createObjectStore("settings");
        },
        // What a newer page in another tab waits for.
        blocking: (_current, _blocked, event) => {
          superseded = true;
          (event.target as IDBDatabase).close();
        },
      });
      return new Store(name, database, () => superseded);
    } catch (error) {
      throw new StoreError("unavailable", "store: expected a browser that stores data, got one that does not", {
        cause: error,
      });
    }
  }

  readonly #superseded: () => boolean;

  private constructor(name: string, database: IDBPDatabase<Schema>, superseded: () => boolean) {
    this.#database = database;
    this.#superseded = superseded;
    if (typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Notice>) => this.onForeignSave(data.photo, data.revision);
  }

  /** Stores photos, all or none. What is known by their ids is replaced. */
  async putPhotos(photos: readonly Photo[]): Promise<void> {
    await this.#told(async () => {
      const change = this.#database.transaction("photos", "readwrite");
      await Promise.all([...photos.map((photo) => change.store.put(photo)), change.done]);
    });
  }

  /** A photo that was stored. Its blob stays on the disk until it is read. */
  photo(id: string): Promise<Photo | undefined> {
    return this.#told(() => this.#database.get("photos", id));
  }

  /** Those of some photos that are stored, in the order of the ids. */
  async photos(ids: readonly string[]): Promise<Photo[]> {
    const found = await Promise.all(ids.map((id) => this.photo(id)));
    return found.filter((photo) => photo !== undefined);
  }

  /** Forgets photos and, unless they are to be found when these are opened again, what is said about them. */
  async removePhotos(ids: readonly string[], { annotations }: { annotations: boolean }): Promise<void> {
    await this.#told(async () => {
      const change = this.#database.transaction(["photos", "annotations"], "readwrite");
      const gone = ids.flatMap((id) => [
        change.objectStore("photos").delete(id),
        ...(annotations ? [change.objectStore("annotations").delete(id)] : []),
      ]);
      await Promise.all([...gone, change.done]);
    });
  }

  /** Forgets photos that are not in the session. What is said about them stays, for when they are opened again. */
  async prunePhotos(): Promise<void> {
    const { photos } = await this.session();
    const kept = new Set(photos);
    const stored = await this.#told(() => this.#database.getAllKeys("photos"));
    await this.removePhotos(
      stored.filter((id) => !kept.has(id)),
      { annotations: false },
    );
  }

  /** What is said about a photo. */
  annotations(photo: string): Promise<Saved | undefined> {
    return this.#told(() => this.#database.get("annotations", photo));
  }

  /**
   * Stores what is said about a photo; other tabs are told.
   *
   * @param revision that of what this tab read or saved last, 0 where there was none.
   * @returns the new revision.
   * @throws StoreError `conflict`: nothing is stored; read what is there, or save with its revision.
   */
  async saveAnnotations(photo: string, history: History, revision: number): Promise<number> {
    const next = await this.#told(async () => {
      const change = this.#database.transaction("annotations", "readwrite");
      const stored = (await change.store.get(photo))?.revision ?? 0;
      if (stored !== revision) {
        await change.done;
        throw new StoreError("conflict", `revision: expected ${stored}, which another tab saved, got ${revision}`);
      }
      const kept = { ...history, past: history.past.slice(-SAVED_DEPTH), future: history.future.slice(0, SAVED_DEPTH) };
      await Promise.all([change.store.put({ history: kept, revision: revision + 1 }, photo), change.done]);
      return revision + 1;
    });
    const notice: Notice = { photo, revision: next };
    this.#channel?.postMessage(notice);
    return next;
  }

  /** The photos that were open last, in whichever tab. */
  async session(): Promise<Session> {
    return (await this.setting<Session>(SESSION)) ?? { photos: [], current: null };
  }

  saveSession(session: Session): Promise<void> {
    return this.saveSetting(SESSION, session);
  }

  setting<T>(key: string): Promise<T | undefined> {
    return this.#told(async () => (await this.#database.get("settings", key)) as T | undefined);
  }

  saveSetting(key: string, value: unknown): Promise<void> {
    return this.#told(async () => {
      await this.#database.put("settings", value, key);
    });
  }

  close(): void {
    this.#channel?.close();
    this.#database.close();
  }

  /** What fails for one of the reasons that users can do something about is said as such. */
  async #told<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof StoreError) throw error;
      const name = (error as { name?: unknown } | null)?.name;
      if (name === "QuotaExceededError") {
        throw new StoreError("quota", "store: expected room for photos and masks, got none left", { cause: error });
      }
      if (this.#superseded()) {
        throw new StoreError("closed", "store: expected that of this version, got that of a newer one: reload", {
          cause: error,
        });
      }
      throw error;
    }
  }
}

/** Saves the newest state of one photo, one write at a time: states in between are left out. */
export class Autosave {
  readonly #store: Store;
  readonly #photo: string;
  #revision: number;
  #next: History | undefined;
  #running: Promise<void> | undefined;
  /** Told of what `saveAnnotations` throws. */
  readonly #failed: (error: unknown) => void;

  /** @param revision that of what was read, 0 for none. */
  constructor(store: Store, photo: string, revision: number, failed: (error: unknown) => void) {
    this.#store = store;
    this.#photo = photo;
    this.#revision = revision;
    this.#failed = failed;
  }

  /** Of what was saved or read last. */
  get revision(): number {
    return this.#revision;
  }

  save(history: History): void {
    this.#next = history;
    this.#running ??= this.#run();
  }

  /** Settles when all is saved that was given to `save`. */
  async done(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#next !== undefined) {
      const history = this.#next;
      this.#next = undefined;
      try {
        this.#revision = await this.#store.saveAnnotations(this.#photo, history, this.#revision);
      } catch (error) {
        this.#failed(error);
      }
    }
    this.#running = undefined;
  }
}
