import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { addThing, edit, type History, newDocument, newHistory, type Photo, photoId, undo } from "./annotations";
import { digestOf } from "./digest";
import { Autosave, SAVED_DEPTH, Store, StoreError } from "./store";

let count = 0;
let name = "";
let store: Store;

beforeEach(async () => {
  name = `test-${++count}`;
  store = await Store.open(name);
});

afterEach(() => {
  store.close();
  vi.restoreAllMocks();
});

function photo(id: string): Photo {
  return { id, name: `${id}.jpg`, width: 4, height: 3, digest: "d", blob: new Blob([id]) };
}

function history(things: number): History {
  let made = newHistory(newDocument(4, 3));
  for (let i = 0; i < things; ++i) made = edit(made, addThing(made.present));
  return made;
}

describe("photos", () => {
  test("are there after closing and opening", async () => {
    await store.putPhotos([photo("a"), photo("b")]);
    store.close();
    store = await Store.open(name);
    expect(await store.photo("a")).toMatchObject({ id: "a", name: "a.jpg", width: 4, height: 3 });
    expect((await store.photos(["b", "gone", "a"])).map(({ id }) => id)).toEqual(["b", "a"]);
    expect(await store.photo("gone")).toBeUndefined();
  });

  test("that are in no session leave, what is said about them stays", async () => {
    await store.putPhotos([photo("a"), photo("b")]);
    await store.saveAnnotations("a", history(1), 0);
    await store.saveSession({ photos: ["b"], current: "b" });
    await store.prunePhotos();
    expect(await store.photo("a")).toBeUndefined();
    expect(await store.photo("b")).toBeDefined();
    expect((await store.annotations("a"))?.history.present.things).toHaveLength(1);
    await store.removePhotos(["a", "b"], { annotations: true });
    expect(await store.annotations("a")).toBeUndefined();
    expect(await store.photos(["a", "b"])).toEqual([]);
  });

  test("are named by their files' SHA-256, with and without the browser's help", async () => {
    const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    expect(await digestOf(new Blob(["abc"]))).toBe(abc);
    vi.stubGlobal("crypto", {});
    expect(await digestOf(new Blob(["abc"]))).toBe(abc);
    vi.unstubAllGlobals();
    expect(photoId(abc, "a/b.jpg")).not.toBe(photoId(abc, "b.jpg"));
  });
});

describe("annotations", () => {
  test("come back with what can be undone, things shared as before", async () => {
    await store.saveAnnotations("a", undo(history(3)), 0);
    const saved = (await store.annotations("a"))!;
    expect(saved.revision).toBe(1);
    expect(saved.history).toEqual(undo(history(3)));
    expect(saved.history.present.things[0]).toBe(saved.history.future[0]!.things[0]);
  });

  test("keep a limited number of states", async () => {
    await store.saveAnnotations("a", history(SAVED_DEPTH + 20), 0);
    const { past, present } = (await store.annotations("a"))!.history;
    expect(past).toHaveLength(SAVED_DEPTH);
    expect(past[SAVED_DEPTH - 1]!.things).toHaveLength(present.things.length - 1);
  });

  test("of another tab are not overwritten, and it is told", async () => {
    const other = await Store.open(name);
    const told = new Promise<[string, number]>((resolve) => {
      other.onForeignSave = (...values) => resolve(values);
    });
    expect(await store.saveAnnotations("a", history(1), 0)).toBe(1);
    expect(await told).toEqual(["a", 1]);
    await expect(other.saveAnnotations("a", history(2), 0)).rejects.toMatchObject({ problem: "conflict" });
    expect((await store.annotations("a"))?.history.present.things).toHaveLength(1);
    expect(await other.saveAnnotations("a", history(2), 1)).toBe(2);
    other.close();
  });

  test("saved in a hurry: the newest state wins, and those in between may be left out", async () => {
    const failed = vi.fn();
    const save = vi.spyOn(store, "saveAnnotations");
    const autosave = new Autosave(store, "a", 0, failed);
    for (let things = 1; things <= 30; ++things) autosave.save(history(things));
    await autosave.done();
    expect((await store.annotations("a"))?.history.present.things).toHaveLength(30);
    expect(save.mock.calls.length).toBeLessThan(30);
    expect(autosave.revision).toBe(save.mock.calls.length);
    await store.saveAnnotations("a", history(2), autosave.revision); // as from another tab
    autosave.save(history(31));
    await autosave.done();
    expect(failed).toHaveBeenCalledWith(expect.objectContaining({ problem: "conflict" }));
  });
});

describe("sessions and settings", () => {
  test("are what was saved last", async () => {
    expect(await store.session()).toEqual({ photos: [], current: null });
    await store.saveSession({ photos: ["a", "b"], current: "b" });
    expect(await store.session()).toEqual({ photos: ["a", "b"], current: "b" });
    expect(await store.setting("theme")).toBeUndefined();
    await store.saveSetting("theme", "dark");
    expect(await store.setting("theme")).toBe("dark");
  });
});

describe("problems are told", () => {
  test("no room", async () => {
    vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    const failure = store.putPhotos([photo("a")]);
    await expect(failure).rejects.toBeInstanceOf(StoreError);
    await expect(failure).rejects.toMatchObject({
      problem: "quota",
      message: expect.stringContaining("expected room"),
    });
    await expect(store.saveAnnotations("a", history(1), 0)).rejects.toMatchObject({ problem: "quota" });
  });

  test("a browser that stores nothing", async () => {
    vi.spyOn(indexedDB, "open").mockImplementation(() => {
      throw new DOMException("private", "SecurityError");
    });
    await expect(Store.open("other")).rejects.toMatchObject({ problem: "unavailable" });
  });

  test("a newer page in another tab", async () => {
    const newer = indexedDB.open(name, 2);
    await new Promise((resolve) => {
      newer.onsuccess = resolve;
    });
    await expect(store.session()).rejects.toMatchObject({ problem: "closed" });
    newer.result.close();
  });

  test("other errors stay what they are", async () => {
    store.close();
    await expect(store.session()).rejects.toMatchObject({ name: "InvalidStateError" });
  });
});
