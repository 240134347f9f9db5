// Which part of a photo a canvas shows: places on the screen are CSS pixels of the canvas, places on the photo its pixels.

export interface View {
  /** CSS pixels of a photo's pixel. */
  readonly scale: number;
  /** Where the photo's upper left corner is on the canvas. */
  readonly x: number;
  readonly y: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Screen pixels of a photo's pixel at most. */
export const MOST = 40;

const MARGIN = 24;

/** The whole photo in the middle of the canvas; small photos are not blown up beyond four times their size. */
export function fitted(photo: Size, canvas: Size): View {
  const margin = Math.min(MARGIN, canvas.width / 16, canvas.height / 16);
  const room = { width: canvas.width - 2 * margin, height: canvas.height - 2 * margin };
  const scale = Math.max(1e-3, Math.min(4, room.width / photo.width, room.height / photo.height));
  return centred(photo, canvas, scale);
}

/** The photo's middle in the middle of the canvas. */
export function centred(photo: Size, canvas: Size, scale: number): View {
  return { scale, x: (canvas.width - photo.width * scale) / 2, y: (canvas.height - photo.height * scale) / 2 };
}

/** So many times larger, with the photo's place at (x, y) of the canvas staying there. */
export function zoomed(view: View, factor: number, x: number, y: number, photo: Size, canvas: Size): View {
  const least = Math.min(fitted(photo, canvas).scale / 2, 1);
  const scale = Math.max(least, Math.min(MOST, view.scale * factor));
  const by = scale / view.scale;
  return kept({ scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by }, photo, canvas);
}

/** Moved, but never so far that nothing of the photo is to be seen. */
export function panned(view: View, dx: number, dy: number, photo: Size, canvas: Size): View {
  return kept({ ...view, x: view.x + dx, y: view.y + dy }, photo, canvas);
}

function kept(view: View, photo: Size, canvas: Size): View {
  const edge = 48;
  const within = (at: number, length: number, room: number): number =>
    Math.max(edge - length, Math.min(room - edge, at));
  return {
    scale: view.scale,
    x: within(view.x, photo.width * view.scale, canvas.width),
    y: within(view.y, photo.height * view.scale, canvas.height),
  };
}

/** The place on the photo under a place on the canvas. */
export function toPhoto(view: View, x: number, y: number): [number, number] {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}

/** The place on the canvas of a place on the photo. */
export function toCanvas(view: View, x: number, y: number): [number, number] {
  return [view.x + x * view.scale, view.y + y * view.scale];
}
