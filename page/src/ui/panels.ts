// Which panels are open, and how photos are asked for.
import { signal } from "@preact/signals";
import { entriesOf, entryOf } from "../photos";
import { add, notify } from "../session";

export const helpOpen = signal(false);
export const exportOpen = signal(false);
export const engineOpen = signal(false);
/** The list of objects, where the window is too narrow to always show it. */
export const objectsOpen = signal(false);

/** Lets a person pick photos, or a folder of them. */
export function pickFiles(folder: boolean): void {
  const input = document.createElement("input");
  input.type = "file";
  if (folder) input.webkitdirectory = true;
  else {
    input.multiple = true;
    input.accept = "image/*";
  }
  input.onchange = () => void add(entriesOf(input.files ?? []));
  input.click();
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
