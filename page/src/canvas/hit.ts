// Which masks a place lies in, told from their RLEs.
import { type Rle, uncompress } from "../core/rle";

const ends = new WeakMap<Rle, Float64Array>();

/** Whether the pixel of a place (x, y) is on the mask. */
export function contains(rle: Rle, x: number, y: number): boolean {
  const [height, width] = rle.size;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= width || row >= height) return false;
  let sums = ends.get(rle);
  if (sums === undefined) {
    sums = Float64Array.from(uncompress(rle));
    for (let i = 1; i < sums.length; ++i) sums[i]! += sums[i - 1]!;
    ends.set(rle, sums);
  }
  const at = column * height + row;
  let [low, high] = [0, sums.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle]! > at) high = middle;
    else low = middle + 1;
  }
  return low % 2 === 1; // the first run is of pixels that are not on it
}
