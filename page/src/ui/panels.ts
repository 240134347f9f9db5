// Which panels are open, and how photos are asked for.
import { signal } from "@preact/signals";
import { entryOf } from "../photos";
import { add, notify } from "../session";

export const helpOpen = signal(false);
export const exportOpen = signal(false);
export const engineOpen = signal(false);
/** The list of objects, where the window is too narrow to always show it. */
export const objectsOpen = signal(false);

/** Lets a person pick photos, or a folder of them, by the fields of `Pickers`. */
export function pickFiles(folder: boolean): void {
  document.getElementById(folder ? "pick-folder" : "pick-photos")?.click();
}

/** Adds what the clipboard holds. */
export async function pasteFromClipboard(): Promise<void> {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((one) => one.startsWith("image/"));
      if (type) {
        await add([pasted(await item.getType(type))]);
        return;
      }
    }
    notify("The clipboard holds no picture.", true);
  } catch {
    notify("This browser does not let the page read the clipboard; press Ctrl V instead.", true);
  }
}

export function pasted(blob: Blob) {
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  return entryOf(`pasted ${time}.${blob.type.split("/")[1] ?? "png"}`, blob);
}

/** Adds one of the photos that come with the page. */
export async function openSample(name: string): Promise<void> {
  const response = await fetch(new URL(`samples/${name}`, document.baseURI));
  await add([entryOf(name, await response.blob())]);
}

/** Scrolls the list that an item is in, and nothing else, until the item is seen. */
export function reveal(item: HTMLElement): void {
  const list = item.parentElement!;
  const [outer, inner] = [list.getBoundingClientRect(), item.getBoundingClientRect()];
  list.scrollBy({
    left: Math.min(0, inner.left - outer.left - 8) + Math.max(0, inner.right - outer.right + 8),
    top: Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom),
  });
}
