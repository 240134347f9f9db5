// Photos as they come in: files that are dropped, picked or pasted, and folders of them.
import { type Photo, photoId } from "./core/annotations";
import { digestOf } from "./core/digest";

const NAMES = /\.(jpe?g|png|webp|bmp|gif|avif)$/i;
const THUMBNAIL = 96; // pixels of its shorter side

/** A photo of the session. What it takes to open it is found out when it is needed. */
export interface Entry {
  /** Of its own in this session. */
  readonly key: number;
  readonly name: string;
  readonly blob: Blob;
  /** What is known once it was read. */
  readonly photo: Photo | null;
  /** Address of a small picture of it. */
  readonly thumbnail: string | null;
  /** How many things are marked in it. */
  readonly things: number;
  /** Whether it could not be read. */
  readonly broken: boolean;
}

let keys = 0;

export function entryOf(name: string, blob: Blob): Entry {
  return { key: ++keys, name, blob, photo: null, thumbnail: null, things: 0, broken: false };
}

export function entryOfPhoto(photo: Photo, things: number): Entry {
  return { ...entryOf(photo.name, photo.blob), photo, things };
}

/** Whether a file is one of those that browsers show. */
export function isPhoto(file: File): boolean {
  return file.type === "" ? NAMES.test(file.name) : file.type.startsWith("image/") && !file.type.includes("svg");
}

/** The photos among files, in the order of their names, with the folders that they were picked with. */
export function entriesOf(files: Iterable<File>): Entry[] {
  return [...files]
    .filter(isPhoto)
    .map((file) => ({ file, name: file.webkitRelativePath || file.name }))
    .sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }))
    .map(({ file, name }) => entryOf(name, file));
}

/** What is dropped, folders with all that is in them. */
export async function dropped(data: DataTransfer): Promise<Entry[]> {
  // The list is empty once the event is over, so everything is taken from it at once.
  const roots = [...data.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = [...data.files];
  if (!roots.some((root) => root?.isDirectory)) return entriesOf(plain);
  const found: { file: File; name: string }[] = [];
  const walk = async (item: FileSystemEntry): Promise<void> => {
    if (item.isFile) {
      const file = await new Promise<File>((resolve, reject) => (item as FileSystemFileEntry).file(resolve, reject));
      if (isPhoto(file)) found.push({ file, name: item.fullPath.replace(/^\//, "") });
      return;
    }
    const reader = (item as FileSystemDirectoryEntry).createReader();
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const one of some) await walk(one);
    }
  };
  for (const root of roots) if (root) await walk(root);
  found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return found.map(({ file, name }) => entryOf(name, file));
}

/** What a photo is: who it is, and how large. */
export async function readPhoto(entry: Entry): Promise<Photo> {
  if (entry.photo) return entry.photo;
  const [digest, bitmap] = await Promise.all([digestOf(entry.blob), createImageBitmap(entry.blob)]);
  const { width, height } = bitmap;
  bitmap.close();
  return { id: photoId(digest, entry.name), name: entry.name, width, height, digest, blob: entry.blob };
}

/** A small picture of a photo, as the address of a blob. */
export async function thumbnailOf({ blob, width, height }: Photo): Promise<string> {
  const scale = Math.min(1, THUMBNAIL / Math.min(width, height));
  const size = {
    resizeWidth: Math.max(1, Math.round(width * scale)),
    resizeHeight: Math.max(1, Math.round(height * scale)),
  };
  const bitmap = await createImageBitmap(blob, { ...size, resizeQuality: "medium" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
  return URL.createObjectURL(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 }));
}
