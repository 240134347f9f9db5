// Files of what is marked, from the photos of the session to the folder of downloads.

import { type ExportPhoto, exportPhotos, exportThings, type Format } from "./core/exporting";
import type { Box } from "./core/mask";
import type { Entry } from "./photos";
import { documentOf } from "./session";

/** Photos among those of the session in which something is marked. Each is decoded once, when its pixels are asked for. */
export async function exportable(entries: readonly Entry[]): Promise<ExportPhoto[]> {
  const found: ExportPhoto[] = [];
  for (const entry of entries) {
    const document = await documentOf(entry);
    if (!document || !entry.photo) continue;
    const things = exportThings(document);
    if (things.length === 0) continue;
    const { blob, name, width, height } = entry.photo;
    found.push({ name, width, height, things, pixels: (box) => pixelsWithin(blob, box) });
  }
  return found;
}

let decoded: { readonly blob: Blob; readonly bitmap: ImageBitmap } | null = null;

async function pixelsWithin(blob: Blob, { x0, y0, x1, y1 }: Box): Promise<Uint8ClampedArray> {
  if (decoded?.blob !== blob) {
    const bitmap = await createImageBitmap(blob);
    forget();
    decoded = { blob, bitmap };
  }
  const [width, height] = [x1 - x0, y1 - y0];
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(decoded.bitmap, x0, y0, width, height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

function forget(): void {
  decoded?.bitmap.close();
  decoded = null;
}

/** Makes a file and hands it to the browser. */
export async function download(
  entries: readonly Entry[],
  format: Format,
  progress: (part: number) => void,
): Promise<string> {
  const photos = await exportable(entries);
  const { name, blob } = await exportPhotos(photos, format, (done) => progress(done / photos.length)).finally(forget);
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  return name;
}
