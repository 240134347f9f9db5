// The engine's last steps from logits to a mask, for what is shown only while the pointer is there.
import type { Mask } from "../core/mask";

const PLANE_SIDE = 256;
const FRAME = 1024;

/**
 * The mask of logits in the frame of 1024 pixels, or in the photo's size where that is smaller: what the engine does on its
 * way to the photo's size, up to its last step.
 */
export function maskOfLogits(logits: Float32Array, photoWidth: number, photoHeight: number): Mask {
  const longer = Math.max(photoWidth, photoHeight);
  const scale = Math.min(longer, FRAME) / longer;
  const width = Math.max(1, Math.round(photoWidth * scale));
  const height = Math.max(1, Math.round(photoHeight * scale));
  const data = new Uint8Array(width * height);
  // Of each output column the two columns of logits it lies between, and how far it is from the left one.
  const step = PLANE_SIDE / Math.min(longer, FRAME);
  const places = (count: number): [Uint8Array, Float32Array] => {
    const left = new Uint8Array(count);
    const part = new Float32Array(count);
    for (let i = 0; i < count; ++i) {
      const at = Math.max(0, Math.min(PLANE_SIDE - 1, (i + 0.5) * step - 0.5));
      left[i] = Math.min(PLANE_SIDE - 2, Math.floor(at));
      part[i] = at - left[i]!;
    }
    return [left, part];
  };
  const [columns, right] = places(width);
  const [rows, lower] = places(height);
  const row = new Float32Array(PLANE_SIDE);
  for (let y = 0; y < height; ++y) {
    const above = rows[y]! * PLANE_SIDE;
    const weight = lower[y]!;
    let any = false;
    for (let x = 0; x < PLANE_SIDE; ++x) {
      const value = logits[above + x]! * (1 - weight) + logits[above + PLANE_SIDE + x]! * weight;
      row[x] = value;
      any ||= value > 0;
    }
    if (!any) continue;
    for (let x = 0; x < width; ++x) {
      const at = columns[x]!;
      const value = row[at]! + (row[at + 1]! - row[at]!) * right[x]!;
      if (value > 0) data[y * width + x] = 1;
    }
  }
  return { width, height, data };
}
