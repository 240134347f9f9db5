// What is said about photos as files that other programs read: cut-outs, label maps, COCO's json, SVG, GeoJSON and YOLO's
// polygons. What one photo or thing needs is made and packed before the next one is begun, so folders fit in memory.
import { strToU8, Zip, ZipDeflate, ZipPassThrough } from "fflate";
import { type Document, thingRle } from "./annotations";
import { type Polygon, type Ring, signedArea, tracePolygons } from "./contours";
import type { Box } from "./mask";
import { encodePng } from "./png";
import { areaOfRle, boundsOfRle, decodeWindow, type Rle } from "./rle";

/**
 * What files can be made. Things may overlap: in a label map smaller ones lie above larger ones, and so they do in an SVG;
 * everywhere else each thing is whole, in the order they were made.
 *
 * - cutout: a PNG of each thing, as large as its box, transparent around it.
 * - labels: a PNG of the photo's size, grey: 0 where no thing is, else its number; 16 bits for more than 255.
 * - coco: one json file for all photos, with compressed RLEs, which are exact.
 * - svg: a path of each thing, outlines within 0.75 pixels.
 * - geojson: a FeatureCollection of each photo in its pixels, x to the right and y down, along the edges of pixels.
 * - yolo: a text file of each photo with one polygon of each thing, classes.txt and data.yaml. Such a polygon cannot say
 *   holes and parts: they are joined by lines to and fro, which have no area.
 */
export type Format = "cutout" | "labels" | "coco" | "svg" | "geojson" | "yolo";

export const FORMATS: readonly Format[] = ["cutout", "labels", "coco", "svg", "geojson", "yolo"];

export interface ExportThing {
  /** From 1 on, which others in the photo do not have: what label maps say. */
  readonly number: number;
  readonly name: string;
  /** "#rrggbb" */
  readonly colour: string;
  readonly rle: Rle;
  /** Expected overlap (IoU) with the thing; null where the brush changed what the model gave. */
  readonly score: number | null;
}

export interface ExportPhoto {
  /** Of its file, which may be in folders. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** None of them empty. */
  readonly things: readonly ExportThing[];
  /** R, G, B, A of the photo within a box, row by row: for cut-outs, which write into it. */
  pixels(box: Box): Promise<Uint8ClampedArray | Uint8Array>;
}

export interface OutputFile {
  readonly name: string;
  readonly type: string;
  readonly content: Uint8Array<ArrayBuffer>;
}

const TYPES = { png: "image/png", json: "application/json", svg: "image/svg+xml", geojson: "application/geo+json" };
const PATH_TOLERANCE = 0.75; // pixels, of SVG and YOLO: above 1 / sqrt(2), so that slanted outlines have no steps
const YOLO_ERROR = 0.02; // of a thing's area, at most, by lines that replace corners

/** The things of a document as they are exported: all that have a mask, whether or not they are shown. */
export function exportThings(document: Document): ExportThing[] {
  return document.things.flatMap((thing) => {
    const rle = thingRle(document, thing);
    if (areaOfRle(rle) === 0) return [];
    const score = thing.strokes.length > 0 ? null : (thing.candidates[thing.chosen]?.score ?? null);
    return [{ number: thing.id, name: thing.name, colour: thing.colour, rle, score }];
  });
}

/**
 * The file that is downloaded: a zip where there are several.
 *
 * @param progress is told how many of the photos are done.
 * @throws RangeError: there is nothing to put into a file.
 */
export async function exportPhotos(
  photos: readonly ExportPhoto[],
  format: Format,
  progress: (done: number) => void = () => {},
): Promise<{ name: string; blob: Blob }> {
  const title = photos.length === 1 ? fileName(stem(photos[0]!.name.split("/").at(-1)!)) : "annotations";
  const zip = new Packer();
  let only: OutputFile | undefined;
  let count = 0;
  for await (const file of outputFiles(photos, format, progress)) {
    // The first one is kept as it is until there is a second one.
    if (++count === 1) only = file;
    else {
      if (only !== undefined) zip.add(only);
      only = undefined;
      zip.add(file);
    }
  }
  if (count === 0) throw new RangeError("things: expected one at least, got none");
  if (only !== undefined) {
    const name = only.name.slice(only.name.lastIndexOf("/") + 1);
    return { name, blob: new Blob([only.content], { type: only.type }) };
  }
  return { name: `${title}-${format}.zip`, blob: zip.finish() };
}

/** The files of a format, one after the other; their names all differ. */
export async function* outputFiles(
  photos: readonly ExportPhoto[],
  format: Format,
  progress: (done: number) => void = () => {},
): AsyncGenerator<OutputFile> {
  const names = photoStems(photos);
  const classes = classNumbers(photos);
  for (const [index, photo] of photos.entries()) {
    const name = names[index]!;
    const { width, height } = photo;
    if (format === "cutout") {
      for (const thing of photo.things) {
        const content = await cutout(photo, thing);
        yield { name: `${name}-${thing.number}-${fileName(thing.name)}.png`, type: TYPES.png, content };
      }
    } else if (format === "labels") {
      yield {
        name: `${name}-labels.png`,
        type: TYPES.png,
        content: await encodePng({ width, height, channels: 1, data: labelMap(photo) }),
      };
    } else if (format === "svg") {
      yield text(`${name}.svg`, TYPES.svg, svgDocument(photo));
    } else if (format === "geojson") {
      yield text(`${name}.geojson`, TYPES.geojson, JSON.stringify(geojsonDocument(photo)));
    } else if (format === "yolo") {
      yield text(`labels/${name}.txt`, "text/plain", yoloLines(photo, classes));
    }
    progress(index + 1);
    await new Promise((resolve) => setTimeout(resolve)); // the page goes on
  }
  if (format === "coco") {
    const name = photos.length === 1 ? `${names[0]}-coco.json` : "annotations-coco.json";
    yield text(name, TYPES.json, JSON.stringify(cocoDocument(photos)));
  }
  if (format === "yolo") {
    const lines = [...classes.keys()].map((name) => `${oneLine(name)}\n`);
    yield text("classes.txt", "text/plain", lines.join(""));
    yield text("data.yaml", "application/yaml", yoloYaml([...classes.keys()]));
  }
}

/** A PNG of a thing, as large as its box. What is around the thing is transparent, and its colours are gone. */
export async function cutout(photo: ExportPhoto, thing: ExportThing): Promise<Uint8Array<ArrayBuffer>> {
  const { left, top, mask } = decodeWindow(thing.rle);
  const { width, height, data } = mask;
  const pixels = await photo.pixels({ x0: left, y0: top, x1: left + width, y1: top + height });
  const colours = new Uint8Array(pixels.buffer as ArrayBuffer, pixels.byteOffset, pixels.byteLength);
  for (let at = 0; at < data.length; ++at) if (data[at] === 0) colours.fill(0, 4 * at, 4 * at + 4);
  return encodePng({ width, height, channels: 4, data: colours });
}

/** One number for each pixel: 0 where no thing is, otherwise that of the thing; smaller things win. */
export function labelMap({ width, height, things }: ExportPhoto): Uint8Array | Uint16Array {
  const highest = Math.max(0, ...things.map(({ number }) => number));
  if (highest > 0xffff) throw new RangeError(`things: expected at most ${0xffff}, got ${highest}`);
  const labels = new (highest > 0xff ? Uint16Array : Uint8Array)(width * height);
  for (const index of largestFirst(things)) {
    const { left, top, mask } = decodeWindow(things[index]!.rle);
    for (let y = 0, at = 0; y < mask.height; ++y) {
      const row = (top + y) * width + left;
      for (let x = 0; x < mask.width; ++x, ++at) if (mask.data[at] === 1) labels[row + x] = things[index]!.number;
    }
  }
  return labels;
}

/** COCO's json: ids count from 1 through all photos, categories are the names in the order they come. */
export function cocoDocument(photos: readonly ExportPhoto[]): object {
  const classes = classNumbers(photos);
  const annotations: object[] = [];
  photos.forEach((photo, index) => {
    for (const { name, rle, score } of photo.things) {
      const { x0, y0, x1, y1 } = boundsOfRle(rle)!;
      annotations.push({
        id: annotations.length + 1,
        image_id: index + 1,
        category_id: classes.get(name)! + 1,
        segmentation: rle,
        area: areaOfRle(rle),
        bbox: [x0, y0, x1 - x0, y1 - y0],
        iscrowd: 0,
        ...(score === null ? {} : { score }),
      });
    }
  });
  return {
    images: photos.map(({ name, width, height }, index) => ({ id: index + 1, file_name: name, height, width })),
    annotations,
    categories: [...classes].map(([name, number]) => ({ id: number + 1, name })),
  };
}

/** A path of each thing, larger ones below, with its name as the title. */
export function svgDocument({ width, height, things }: ExportPhoto): string {
  const stroke = Math.max(1, Math.sqrt(width * height) / 240).toFixed(2);
  const paths = largestFirst(things).map((index) => {
    const { number, name, colour, rle } = things[index]!;
    const rings = tracePolygons(rle, PATH_TOLERANCE).flatMap(({ outer, holes }) => [outer, ...holes]);
    const data = rings.map((ring) => `M${places(ring).join(" ")}Z`).join("");
    return (
      `<path id="thing-${number}" fill="${colour}" fill-opacity="0.4" fill-rule="evenodd" stroke="${colour}" ` +
      `stroke-width="${stroke}" stroke-linejoin="round" d="${data}"><title>${escapeXml(name)}</title></path>\n`
    );
  });
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>\n${paths.join("")}</svg>\n`;
}

/**
 * A FeatureCollection (RFC 7946) with a Polygon or MultiPolygon, with its holes, of each thing: closed rings that do not
 * meet themselves; in the plane of the coordinates outer ones run anticlockwise and holes clockwise.
 */
export function geojsonDocument({ things }: ExportPhoto): object {
  const features = things.map(({ number, name, rle, score }) => {
    const polygons = tracePolygons(rle).map(({ outer, holes }) => {
      const rings = [outer, ...holes].flatMap(simpleRings);
      rings.sort((a, b) => signedArea(b) - signedArea(a)); // the outer one has the only area above 0
      return rings.map(closed);
    });
    const geometry =
      polygons.length === 1
        ? { type: "Polygon", coordinates: polygons[0]! }
        : { type: "MultiPolygon", coordinates: polygons };
    const properties = { id: number, name, area: areaOfRle(rle), ...(score === null ? {} : { score }) };
    return { type: "Feature", id: number, properties, geometry };
  });
  return { type: "FeatureCollection", features };
}

/** A line of each thing: the number of its class, from 0 on, and x and y of one polygon's corners, from 0 to 1. */
export function yoloLines({ width, height, things }: ExportPhoto, classes: ReadonlyMap<string, number>): string {
  const lines = things.map(({ name, rle }) => {
    const ring = joinRings(yoloPolygons(rle));
    const numbers = ring.map((value, at) => Number((value / (at % 2 === 0 ? width : height)).toFixed(7)));
    return `${[classes.get(name)!, ...numbers].join(" ")}\n`;
  });
  return lines.join("");
}

/** Numbers of the names of things, from 0 on, in the order they come. */
export function classNumbers(photos: readonly ExportPhoto[]): Map<string, number> {
  const names = new Set(photos.flatMap((photo) => photo.things.map((thing) => thing.name)));
  return new Map([...names].map((name, number) => [name, number]));
}

/** A text as the name of a file on any system. */
export function fileName(text: string): string {
  const kept = oneLine(text)
    .replace(/[<>:"/\\|?*]/g, "_")
    .replace(/^\.+|[. ]+$/g, "")
    .slice(0, 100)
    .trim();
  const reserved = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;
  return kept === "" || reserved.test(kept) ? `_${kept}` : kept;
}

// Photos' names without endings, with their folders, all different: two photos may differ in the ending alone.
function photoStems(photos: readonly ExportPhoto[]): string[] {
  const taken = new Set<string>();
  return photos.map(({ name }) => {
    const path = stem(name).split("/").map(fileName).join("/");
    let found = path;
    // without case, as file systems compare
    for (let number = 2; taken.has(found.toLowerCase()); ++number) found = `${path}-${number}`;
    taken.add(found.toLowerCase());
    return found;
  });
}

function stem(name: string): string {
  return name.replace(/(?<=[^/])\.[^./]*$/, "");
}

// Control characters are not allowed in XML and in names of files, and break lines elsewhere.
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffe\uffff]+/g, " ");
}

function escapeXml(text: string): string {
  return oneLine(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function text(name: string, type: string, content: string): OutputFile {
  return { name, type, content: strToU8(content) as Uint8Array<ArrayBuffer> };
}

function largestFirst(things: readonly ExportThing[]): number[] {
  const areas = things.map(({ rle }) => areaOfRle(rle));
  return things.map((_, index) => index).sort((a, b) => areas[b]! - areas[a]!);
}

function places(ring: Ring): string[] {
  return Array.from({ length: ring.length / 2 }, (_, i) => `${ring[2 * i]},${ring[2 * i + 1]}`);
}

function closed(ring: Ring): number[][] {
  const corners = Array.from({ length: ring.length / 2 }, (_, i) => [ring[2 * i]!, ring[2 * i + 1]!]);
  return [...corners, corners[0]!];
}

// A ring that meets itself in corners, where pixels touch at corners alone, as rings that do not. One of them has the sign
// of the whole; the others are around gaps, as holes that touch the outline in one point.
function simpleRings(ring: Ring): Ring[] {
  const rings: Ring[] = [];
  const path: number[] = []; // x and y in turns
  const at = new Map<string, number>();
  const all = places(ring);
  [...all, all[0]!].forEach((place, i) => {
    const before = at.get(place);
    if (before === undefined) {
      at.set(place, path.length);
    } else {
      const loop = path.splice(before);
      rings.push(Int32Array.from(loop));
      for (const other of places(Int32Array.from(loop))) at.delete(other);
      at.set(place, before);
    }
    path.push(ring[(2 * i) % ring.length]!, ring[(2 * i + 1) % ring.length]!);
  });
  return rings;
}

// Corners may go as far as the thing's area allows: few of large things, none of small ones.
function yoloPolygons(rle: Rle): Polygon[] {
  const exact = tracePolygons(rle);
  let around = 0;
  for (const ring of exact.flatMap(({ outer, holes }) => [outer, ...holes])) {
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      around += Math.abs(ring[i]! - ring[j]!) + Math.abs(ring[i + 1]! - ring[j + 1]!);
    }
  }
  return tracePolygons(rle, Math.min(PATH_TOLERANCE, (YOLO_ERROR * areaOfRle(rle)) / around));
}

// One ring of all: from the corner of what is joined already that is next to any of the following ring, there, around and
// back. Holes run the other way round, so both rules of filling, by parity and by winding, leave them empty.
function joinRings(polygons: readonly Polygon[]): number[] {
  const rings = polygons.flatMap(({ outer, holes }) => [outer, ...holes]);
  let joined: number[] = Array.from(rings[0]!);
  for (const ring of rings.slice(1)) {
    let shortest = Infinity;
    let from = 0;
    let to = 0;
    for (let i = 0; i < joined.length; i += 2) {
      for (let j = 0; j < ring.length; j += 2) {
        const distance = (joined[i]! - ring[j]!) ** 2 + (joined[i + 1]! - ring[j + 1]!) ** 2;
        if (distance < shortest) [shortest, from, to] = [distance, i, j];
      }
    }
    const turned = [...ring.subarray(to), ...ring.subarray(0, to + 2)];
    joined = [...joined.slice(0, from + 2), ...turned, ...joined.slice(from)];
  }
  return joined;
}

function yoloYaml(names: readonly string[]): string {
  const lines = names.map((name, number) => `  ${number}: ${JSON.stringify(oneLine(name))}\n`);
  return `path: .\ntrain: images\nval: images\nnames:${names.length > 0 ? "\n" : " {}\n"}${lines.join("")}`;
}

// A zip file that grows by finished files. No workers: the policy of the page forbids those that fflate would start.
class Packer {
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];
  readonly #zip = new Zip((error, part) => {
    if (error) throw error;
    this.#parts.push(part as Uint8Array<ArrayBuffer>);
  });

  add({ name, type, content }: OutputFile): void {
    const entry = type === TYPES.png ? new ZipPassThrough(name) : new ZipDeflate(name);
    this.#zip.add(entry);
    entry.push(content, true);
  }

  finish(): Blob {
    this.#zip.end();
    return new Blob(this.#parts, { type: "application/zip" });
  }
}
