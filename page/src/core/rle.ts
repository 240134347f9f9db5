// COCO's run-length encoding of masks, as evsam/rle.py has it: a mask is read column by column, and the lengths of its
// alternating runs, zeros first, are the counts. In the compressed form each count from the fourth on is written as its
// difference to the count two before, and every number in groups of five bits, lowest first, as characters from "0" on:
// bit 5 says that more follow, and bit 4 of the last group is the sign.
import { type Box, bounds, emptyMask, type Mask, type MaskWindow } from "./mask";

/** A mask as COCO's tools and JSON files have it. */
export interface Rle {
  /** Height and width. */
  readonly size: readonly [height: number, width: number];
  /** Compressed. */
  readonly counts: string;
}

/** Its size, and the uncompressed counts: COCO's files have these for crowds. */
export interface Runs {
  readonly size: readonly [height: number, width: number];
  readonly counts: ArrayLike<number>;
}

const FIRST = 48;
const MORE = 1 << 5;
const SIGN = 1 << 4;

/** The RLE of a mask. */
export function encode(mask: Mask): Rle {
  return { size: [mask.height, mask.width], counts: compress(countRuns(mask)) };
}

/**
 * The mask of an RLE.
 *
 * @throws RangeError: the counts are damaged, or do not fill the size.
 */
export function decode(rle: Rle | Runs): Mask {
  const [height, width] = rle.size;
  const mask = emptyMask(width, height);
  fill(runEnds(rle), height, mask);
  return mask;
}

/** The part of an RLE's mask that lies in the box around it, without the whole. */
export function decodeWindow(rle: Rle | Runs): MaskWindow {
  const ends = runEnds(rle);
  const height = rle.size[0];
  const box = boundsOfRuns(ends, height);
  if (box === null) return { left: 0, top: 0, mask: emptyMask(0, 0) };
  const part = emptyMask(box.x1 - box.x0, box.y1 - box.y0);
  // A run that goes on in the next column makes the box as high as the mask, so each run stays within its columns.
  const moved = (at: number): number => (Math.floor(at / height) - box.x0) * part.height + (at % height) - box.y0;
  const inside = new Float64Array(ends.length + (ends.length % 2));
  for (let run = 0; run + 1 < ends.length; run += 2) {
    inside[run] = moved(ends[run]!);
    inside[run + 1] = moved(ends[run + 1]! - 1) + 1;
    if (ends[run] === ends[run + 1]) inside[run + 1] = inside[run]!;
  }
  fill(inside, part.height, part);
  return { left: box.x0, top: box.y0, mask: part };
}

/** Pixels on the object. */
export function areaOfRle(rle: Rle | Runs): number {
  const ends = runEnds(rle);
  let sum = 0;
  for (let run = 1; run < ends.length; run += 2) sum += ends[run]! - ends[run - 1]!;
  return sum;
}

/** The box around what is on the object; null where nothing is. */
export function boundsOfRle(rle: Rle | Runs): Box | null {
  return boundsOfRuns(runEnds(rle), rle.size[0]);
}

/** The RLE of an empty mask. */
export function emptyRle(width: number, height: number): Rle {
  return { size: [height, width], counts: compress([width * height]) };
}

/**
 * The uncompressed counts of an RLE.
 *
 * @throws RangeError: the counts are damaged, or do not fill the size.
 */
export function uncompress(rle: Rle): number[] {
  const ends = runEnds(rle);
  return Array.from(ends, (end, run) => end - (run === 0 ? 0 : ends[run - 1]!));
}

/** Counts in the compressed form. */
export function compress(counts: ArrayLike<number>): string {
  const characters: number[] = [];
  for (let run = 0; run < counts.length; ++run) {
    let rest = run > 2 ? counts[run]! - counts[run - 2]! : counts[run]!;
    for (let more = true; more; ) {
      const group = rest & 31;
      rest >>= 5;
      more = (group & SIGN) === 0 ? rest !== 0 : rest !== -1;
      characters.push(FIRST + (more ? group | MORE : group));
    }
  }
  let text = "";
  for (let from = 0; from < characters.length; from += 8192) {
    text += String.fromCharCode(...characters.slice(from, from + 8192));
  }
  return text;
}

/** The uncompressed counts of a mask. */
export function countRuns(mask: Mask): Float64Array {
  const { width, height, data } = mask;
  const pixels = width * height;
  const box = bounds(mask);
  if (box === null) return Float64Array.of(pixels);
  // Rows are read in their order, which memory is fast at, and what changes within columns is noted, to be put to its
  // column afterwards. Outside of the box nothing changes.
  const places = changesBelow(mask, box);
  const last = (height - 1) * width;
  const changesBetweenColumns = (x: number): boolean => (x === 0 ? 0 : data[last + x - 1]) !== data[x];
  const columns = new Uint32Array(width + 1);
  for (let x = box.x0; x <= box.x1 && x < width; ++x) if (changesBetweenColumns(x)) ++columns[x + 1]!;
  for (let i = 0; i < places.length; ++i) ++columns[(places[i]! % width) + 1]!;
  for (let x = 0; x < width; ++x) columns[x + 1]! += columns[x]!;
  const counts = new Float64Array(columns[width]! + 1);
  const next = columns.slice(0, width);
  for (let x = box.x0; x <= box.x1 && x < width; ++x) if (changesBetweenColumns(x)) counts[next[x]!++] = x * height;
  for (let i = 0; i < places.length; ++i) {
    const x = places[i]! % width;
    counts[next[x]!++] = x * height + (places[i]! - x) / width;
  }
  counts[counts.length - 1] = pixels;
  for (let run = counts.length - 1; run > 0; --run) counts[run]! -= counts[run - 1]!;
  return counts;
}

// Places of pixels, in their order, that are not as the one above them.
function changesBelow({ width, height, data }: Mask, box: Box): number[] {
  const found: number[] = [];
  const top = Math.max(box.y0, 1);
  const bottom = Math.min(box.y1, height - 1);
  // Most pixels are as the one above them: four at once are told to be so where rows begin at whole words.
  const words = width % 4 === 0 && data.byteOffset % 4 === 0;
  const step = words ? 4 : 1;
  const units = words ? new Uint32Array(data.buffer, data.byteOffset, data.length >> 2) : data;
  const rowUnits = width / step;
  const first = Math.floor(box.x0 / step);
  const end = Math.ceil(box.x1 / step);
  for (let y = top; y <= bottom; ++y) {
    for (let unit = y * rowUnits + first; unit < y * rowUnits + end; ++unit) {
      if (units[unit] === units[unit - rowUnits]) continue;
      for (let at = unit * step; at < (unit + 1) * step; ++at) if (data[at] !== data[at - width]) found.push(at);
    }
  }
  return found;
}

/** Where runs end, in pixels from the start: zeros and ones in turns, zeros first. */
function runEnds(rle: Rle | Runs): Float64Array {
  const [height, width] = rle.size;
  const pixels = height * width;
  const ends = typeof rle.counts === "string" ? readCounts(rle.counts) : Float64Array.from(rle.counts);
  let end = 0;
  for (let run = 0; run < ends.length; ++run) {
    const count = ends[run]!;
    if (!Number.isInteger(count) || count < 0) {
      throw new RangeError(`rle: expected counts of 0 pixels or more, got ${count}`);
    }
    end += count;
    ends[run] = end;
  }
  if (ends.length === 0 || end !== pixels) {
    throw new RangeError(`rle: expected counts that add up to ${height} x ${width}, got ${end}`);
  }
  return ends;
}

function readCounts(text: string): Float64Array {
  const counts = new Float64Array(text.length);
  let found = 0;
  for (let at = 0; at < text.length; ) {
    let count = 0;
    let group: number;
    let scale = 1; // factors instead of shifts: numbers may have more than 31 bits
    do {
      group = at < text.length ? text.charCodeAt(at++) - FIRST : -1;
      if (group < 0 || group > 63) throw new RangeError("rle: expected counts in COCO's characters, got others");
      count += (group & 31) * scale;
      scale *= 32;
    } while (group & MORE);
    if (group & SIGN) count -= scale;
    if (found > 2) count += counts[found - 2]!;
    counts[found++] = count;
  }
  return counts.subarray(0, found);
}

function boundsOfRuns(ends: Float64Array, height: number): Box | null {
  let x0 = Infinity;
  let y0 = Infinity;
  let x1 = 0;
  let y1 = 0;
  for (let run = 1; run < ends.length; run += 2) {
    const begin = ends[run - 1]!;
    const last = ends[run]! - 1;
    if (last < begin) continue;
    const left = Math.floor(begin / height);
    const right = Math.floor(last / height);
    x0 = Math.min(x0, left);
    x1 = Math.max(x1, right + 1);
    y0 = left < right ? 0 : Math.min(y0, begin - left * height);
    y1 = left < right ? height : Math.max(y1, last - right * height + 1);
  }
  return x1 === 0 ? null : { x0, y0, x1, y1 };
}

// A one where a column changes, the first row against 0; then each row is the one above, changed. So memory is passed in
// its order.
function fill(ends: Float64Array, height: number, { width, data }: Mask): void {
  if (data.length === 0) return;
  const flip = (at: number): void => {
    const x = Math.floor(at / height);
    data[(at - x * height) * width + x]! ^= 1;
  };
  for (let run = 1; run < ends.length; run += 2) {
    const begin = ends[run - 1]!;
    const end = ends[run]!;
    if (begin === end) continue;
    flip(begin);
    for (let x = Math.floor(begin / height) + 1; x * height < end; ++x) data[x]! ^= 1;
    if (end % height !== 0) flip(end);
  }
  for (let at = width; at < data.length; ++at) data[at]! ^= data[at - width]!;
}
