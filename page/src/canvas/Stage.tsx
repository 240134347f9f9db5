// The photo, the masks on it, and what pointer and keys do there.
import { computed, effect, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Thing } from "../core/annotations";
import { thingRle } from "../core/annotations";
import {
  activate,
  active,
  box,
  brush,
  click,
  doc,
  dropHover,
  everything,
  foundAt,
  hover,
  negative,
  outlines,
  paintStroke,
  photoState,
  pick,
  picture,
  pointed,
  preview,
  shapes,
  thingAt,
  tool,
} from "../session";
import { theme } from "../ui/theme";
import { toleranceAt } from "./masks";
import { centred, fitted, panned, type Size, toCanvas, toPhoto, type View, zoomed } from "./view";

/** CSS pixels that a pointer may move in a click. */
const SLACK = 5;
const LONG_PRESS = 500; // ms
const KEY_STEP = 12; // CSS pixels

export const view = signal<View>({ scale: 1, x: 0, y: 0 });
const size = signal<Size>({ width: 1, height: 1 });
/** Where the keyboard's cursor is, in CSS pixels of the canvas; null where the keyboard is not used. */
const cursor = signal<readonly [number, number] | null>(null);
/** Places of the pointer on the canvas; null where it is not there. */
const place = signal<readonly [number, number] | null>(null);
const rubber = signal<{ readonly from: readonly [number, number]; readonly to: readonly [number, number] } | null>(
  null,
);
/** Places, on the photo, that the brush goes through. */
const stroke = signal<readonly (readonly [number, number])[] | null>(null);
const panning = signal(false);
const space = signal(false);
/** What everything mode found under the pointer. */
const aimed = signal<number | null>(null);
/** Whether the view is the whole photo, which it then stays when the window's size changes. */
let whole = true;

const photoSize = (): Size => picture.peek()?.photo ?? { width: 1, height: 1 };

export function fit(): void {
  if (!picture.peek()) return;
  whole = true;
  view.value = fitted(photoSize(), size.peek());
}

/** Zooms at a place of the canvas; where none is given at the keyboard's cursor, or in the middle. */
export function zoomBy(factor: number, at: readonly [number, number] | null = cursor.peek()): void {
  if (!picture.peek()) return;
  const { width, height } = size.peek();
  const [x, y] = at ?? [width / 2, height / 2];
  whole = false;
  view.value = zoomed(view.peek(), factor, x, y, photoSize(), size.peek());
}

/** Pixels of the photo as pixels of the screen. */
export function actualSize(): void {
  if (!picture.peek()) return;
  whole = false;
  view.value = centred(photoSize(), size.peek(), 1 / devicePixelRatio);
}

export const zoomPercent = computed(() => Math.round(100 * view.value.scale));

function pan(dx: number, dy: number): void {
  whole = false;
  view.value = panned(view.peek(), dx, dy, photoSize(), size.peek());
}

// A new photo is shown as a whole.
effect(() => {
  if (picture.value) fit();
});

// ---- Drawing ----

function drawPhoto(canvas: HTMLCanvasElement): void {
  const context = canvas.getContext("2d")!;
  const ratio = canvas.width / size.value.width;
  const { scale, x, y } = view.value;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const shown = picture.value;
  if (!shown) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = scale * ratio < 3;
  context.imageSmoothingQuality = "high";
  context.drawImage(shown.bitmap, x, y, shown.photo.width * scale, shown.photo.height * scale);
}

interface Look {
  readonly fill: number;
  readonly line: number;
}

function drawShape(context: CanvasRenderingContext2D, shape: Path2D, colour: string, { fill, line }: Look): void {
  const { scale } = view.value;
  context.fillStyle = colour;
  context.globalAlpha = fill;
  context.fill(shape, "evenodd");
  if (line === 0) return;
  context.lineJoin = "round";
  context.globalAlpha = 0.35;
  context.strokeStyle = "#000";
  context.lineWidth = (line + 1.5) / scale;
  context.stroke(shape);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = line / scale;
  context.stroke(shape);
}

// Outlines of many objects take long to draw, so those that stay as they are have a canvas of their own, below the one of
// all that follows the pointer: a click then draws the object that it is about.

const sameItems = <T,>(one: readonly T[], other: readonly T[]): boolean =>
  one.length === other.length && one.every((item, index) => item === other[index]);

/** Things that are seen and not being worked on; the same list as long as it has the same things. */
const resting = (() => {
  let known: readonly Thing[] = [];
  return computed(() => {
    const things = doc.value?.things.filter(({ id, hidden }) => !hidden && id !== active.value?.id) ?? [];
    if (!sameItems(things, known)) known = things;
    return known;
  });
})();
/** What everything mode has found. */
const found = computed(() => (everything.value?.phase === "found" ? everything.value.all : null));
const searching = computed(() => everything.value !== null);

// Ready to draw in pixels of the photo; null where there is none. How far outlines may be simplified there comes with it.
function cleared(canvas: HTMLCanvasElement): { context: CanvasRenderingContext2D; tolerance: number } | null {
  const context = canvas.getContext("2d")!;
  const ratio = canvas.width / size.value.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!picture.value) return null;
  const { scale, x, y } = view.value;
  context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
  return { context, tolerance: toleranceAt(scale * ratio) };
}

function shapeOfThing(thing: Thing, tolerance: number): Path2D | null {
  outlines.value; // drawn again when one has come
  if (thing.candidates.length === 0 && thing.strokes.length === 0) return null; // its mask has not come yet
  return shapes.get(thingRle(doc.peek()!, thing), tolerance); // which reads the photo's size alone
}

function drawResting(canvas: HTMLCanvasElement): void {
  const ready = cleared(canvas);
  if (!ready) return;
  const { context, tolerance } = ready;
  for (const thing of resting.value) {
    const shape = shapeOfThing(thing, tolerance);
    if (shape) drawShape(context, shape, thing.colour, { fill: searching.value ? 0.2 : 0.32, line: 1.25 });
  }
  const largestFirst = [...(found.value ?? [])].filter(({ picked }) => !picked).sort((a, b) => b.area - a.area);
  outlines.value;
  for (const { rle, colour } of largestFirst) {
    const shape = shapes.get(rle, tolerance);
    if (shape) drawShape(context, shape, colour, { fill: 0.22, line: 1.25 });
  }
}

function drawMarks(canvas: HTMLCanvasElement, accent: string): void {
  const ready = cleared(canvas);
  if (!ready) return;
  const { context, tolerance } = ready;
  const ratio = canvas.width / size.value.width;
  // What the pointer is on is drawn a second time, above its resting look.
  const near = resting.value.find(({ id }) => id === pointed.value);
  const nearShape = near && shapeOfThing(near, tolerance);
  if (nearShape) drawShape(context, nearShape, near.colour, { fill: 0.2, line: 2 });
  const aim = aimed.value === null ? undefined : found.value?.[aimed.value];
  const aimShape = aim && !aim.picked && shapes.get(aim.rle, tolerance);
  if (aimShape) drawShape(context, aimShape, aim.colour, { fill: 0.5, line: 2 });
  const thing = active.value;
  const shape = thing && !thing.hidden && shapeOfThing(thing, tolerance);
  // Under the preview of its next mask only a line is left of the present one, so that one sees what a click changes.
  if (shape) drawShape(context, shape, thing.colour, hover.value ? { fill: 0, line: 1 } : { fill: 0.45, line: 2 });
  if (hover.value) drawShape(context, hover.value, thing?.colour ?? accent, { fill: 0.38, line: 1.5 });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.globalAlpha = 1;
  if (stroke.value) drawStroke(context, stroke.value, accent);
  if (thing && !thing.hidden) drawPrompts(context, thing);
  drawRubber(context, accent);
  drawBrush(context);
  drawCursor(context);
}

function drawStroke(
  context: CanvasRenderingContext2D,
  points: readonly (readonly [number, number])[],
  accent: string,
): void {
  const erase = tool.value === "eraser";
  context.lineCap = "round";
  context.lineJoin = "round";
  context.lineWidth = 2 * brush.value;
  context.strokeStyle = erase ? "#fff" : (active.value?.colour ?? accent);
  context.globalAlpha = erase ? 0.7 : 0.55;
  context.beginPath();
  for (const [px, py] of points) context.lineTo(...toCanvas(view.value, px, py));
  const [first] = points;
  if (points.length === 1 && first) context.lineTo(...toCanvas(view.value, first[0] + 0.01, first[1]));
  context.stroke();
  context.globalAlpha = 1;
}

function drawPrompts(context: CanvasRenderingContext2D, thing: Thing): void {
  const { points, box: around } = thing.prompts;
  if (around) {
    const [x0, y0] = toCanvas(view.value, around[0], around[1]);
    const [x1, y1] = toCanvas(view.value, around[2], around[3]);
    drawFrame(context, x0, y0, x1 - x0, y1 - y0, thing.colour, []);
  }
  for (const { x, y, label } of points) {
    const [cx, cy] = toCanvas(view.value, x + 0.5, y + 0.5);
    context.beginPath();
    context.arc(cx, cy, 7, 0, 7);
    context.fillStyle = label ? thing.colour : "#e5484d";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.moveTo(cx - 3, cy);
    context.lineTo(cx + 3, cy);
    if (label) {
      context.moveTo(cx, cy - 3);
      context.lineTo(cx, cy + 3);
    }
    context.lineWidth = 1.75;
    context.lineCap = "round";
    context.stroke();
  }
}

function drawFrame(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  width: number,
  height: number,
  colour: string,
  dash: number[],
): void {
  context.setLineDash([]);
  context.lineWidth = 3;
  context.strokeStyle = "rgb(0 0 0 / 0.4)";
  context.strokeRect(x, y, width, height);
  context.setLineDash(dash);
  context.lineWidth = 1.5;
  context.strokeStyle = colour;
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
}

function drawRubber(context: CanvasRenderingContext2D, accent: string): void {
  if (!rubber.value) return;
  const { from, to } = rubber.value;
  context.fillStyle = accent;
  context.globalAlpha = 0.12;
  context.fillRect(from[0], from[1], to[0] - from[0], to[1] - from[1]);
  context.globalAlpha = 1;
  drawFrame(context, from[0], from[1], to[0] - from[0], to[1] - from[1], "#fff", [6, 4]);
}

function drawBrush(context: CanvasRenderingContext2D): void {
  const at = cursor.value ?? place.value;
  if (!at || everything.value || (tool.value !== "brush" && tool.value !== "eraser")) return;
  for (const [width, colour] of [
    [3, "rgb(0 0 0 / 0.5)"],
    [1.5, "#fff"],
  ] as const) {
    context.beginPath();
    context.arc(at[0], at[1], brush.value, 0, 7);
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
}

function drawCursor(context: CanvasRenderingContext2D): void {
  if (!cursor.value) return;
  const [x, y] = cursor.value;
  for (const [width, colour] of [
    [4, "rgb(0 0 0 / 0.6)"],
    [2, "#fff"],
  ] as const) {
    context.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 14 * dx, y + 14 * dy);
    }
    context.lineWidth = width;
    context.lineCap = "round";
    context.strokeStyle = colour;
    context.stroke();
  }
}

// ---- Pointer and keys ----

/** What a gesture has become. */
type Gesture = "press" | "pan" | "box" | "stroke" | "pinch" | "none";

class Pointers {
  #down = new Map<number, [number, number]>();
  #gesture: Gesture = "none";
  #start: [number, number] = [0, 0];
  #label: 0 | 1 = 1;
  #held = 0;
  #canvas: HTMLCanvasElement;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    const on = <K extends keyof HTMLElementEventMap>(name: K, call: (event: HTMLElementEventMap[K]) => void): void =>
      canvas.addEventListener(name, call as EventListener, { passive: false });
    on("pointerdown", (event) => this.#onDown(event));
    on("pointermove", (event) => this.#onMove(event));
    on("pointerup", (event) => this.#onUp(event));
    on("pointercancel", (event) => this.#onCancel(event));
    on("pointerleave", () => this.#onLeave());
    on("wheel", (event) => this.#onWheel(event));
    on("contextmenu", (event) => event.preventDefault());
    on("keydown", (event) => onKey(event));
    on("focus", () => canvas.toggleAttribute("data-keys", this.#down.size === 0));
    on("blur", () => {
      cursor.value = null;
    });
  }

  #at(event: MouseEvent): [number, number] {
    const bounds = this.#canvas.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  }

  #onDown(event: PointerEvent): void {
    if (!picture.value) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.removeAttribute("data-keys");
    cursor.value = null;
    const at = this.#at(event);
    this.#down.set(event.pointerId, at);
    if (this.#down.size === 2) {
      this.#stopPress();
      stroke.value = rubber.value = null;
      this.#gesture = "pinch";
      panning.value = true;
      return;
    }
    if (this.#down.size > 2) return;
    this.#start = at;
    dropHover(true); // what is clicked for shall not wait for another preview
    this.#label = event.shiftKey || event.button === 2 || negative.value ? 0 : 1;
    if (event.button === 1 || space.value || (tool.value === "select" && event.button === 0)) {
      this.#gesture = event.button === 0 && !space.value ? "press" : "pan";
      panning.value = this.#gesture === "pan";
    } else if (tool.value === "brush" || tool.value === "eraser") {
      this.#gesture = "stroke";
      stroke.value = [toPhoto(view.value, ...at)];
    } else {
      this.#gesture = "press";
      if (event.pointerType === "touch") {
        this.#held = window.setTimeout(() => {
          this.#gesture = "none";
          navigator.vibrate?.(20);
          this.#click(this.#start, 0);
        }, LONG_PRESS);
      }
    }
    if (event.button === 1) event.preventDefault();
  }

  #onMove(event: PointerEvent): void {
    const at = this.#at(event);
    const before = this.#down.get(event.pointerId);
    if (before) this.#down.set(event.pointerId, at);
    if (event.pointerType !== "touch") place.value = at;
    if (!before) {
      this.#hoverAt(at, event.shiftKey || negative.value ? 0 : 1);
      return;
    }
    const far = Math.hypot(at[0] - this.#start[0], at[1] - this.#start[1]) > SLACK;
    if (this.#gesture === "press" && far) {
      this.#stopPress();
      dropHover();
      this.#gesture = tool.value === "select" || everything.value ? "pan" : "box";
      panning.value = this.#gesture === "pan";
    }
    if (this.#gesture === "pan") pan(at[0] - before[0], at[1] - before[1]);
    else if (this.#gesture === "box") rubber.value = { from: this.#start, to: at };
    else if (this.#gesture === "stroke") this.#extend(event);
    else if (this.#gesture === "pinch") this.#pinch(event.pointerId, before, at);
  }

  #extend(event: PointerEvent): void {
    const events = event.getCoalescedEvents?.() ?? [];
    const added = (events.length > 0 ? events : [event]).map((one) => toPhoto(view.value, ...this.#at(one)));
    stroke.value = [...(stroke.value ?? []), ...added];
  }

  #pinch(id: number, before: [number, number], at: [number, number]): void {
    const other = [...this.#down].find(([one]) => one !== id)?.[1];
    if (!other) return;
    const apart = (a: readonly [number, number]): number => Math.hypot(a[0] - other[0], a[1] - other[1]);
    const middle: [number, number] = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
    pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    if (apart(before) > 0) zoomBy(apart(at) / apart(before), middle);
  }

  #onUp(event: PointerEvent): void {
    if (!this.#down.delete(event.pointerId)) return;
    this.#stopPress();
    if (this.#gesture === "pinch") {
      if (this.#down.size === 0) this.#end();
      return;
    }
    const at = this.#at(event);
    const gesture = this.#gesture;
    const drawn = stroke.value;
    this.#end();
    if (gesture === "press") this.#click(at, this.#label);
    else if (gesture === "box") box(...toPhoto(view.value, ...this.#start), ...toPhoto(view.value, ...at));
    else if (gesture === "stroke" && drawn) {
      paintStroke({ points: drawn, radius: brush.value / view.value.scale, erase: tool.value === "eraser" });
    }
  }

  #onCancel(event: PointerEvent): void {
    this.#down.delete(event.pointerId);
    this.#end();
  }

  #onLeave(): void {
    place.value = null;
    aimed.value = null;
    if (this.#down.size > 0) return;
    pointed.value = null;
    dropHover();
  }

  #end(): void {
    this.#stopPress();
    this.#gesture = "none";
    panning.value = false;
    rubber.value = stroke.value = null;
  }

  #stopPress(): void {
    clearTimeout(this.#held);
  }

  #click(at: readonly [number, number], label: 0 | 1): void {
    clickAt(at, label);
  }

  #hoverAt(at: readonly [number, number], label: 0 | 1): void {
    hoverAt(at, label);
  }

  #onWheel(event: WheelEvent): void {
    event.preventDefault();
    if (!picture.value) return;
    // A trackpad's two fingers pan, its pinch (with ctrlKey set) and a mouse's wheel zoom.
    const wheel = event.deltaMode !== 0 || (event.deltaX === 0 && Math.abs(event.deltaY) >= 50);
    if (event.ctrlKey || event.metaKey || wheel) {
      const lines = event.deltaMode === 0 ? event.deltaY : 33 * event.deltaY;
      const strength = event.ctrlKey && !wheel ? 0.01 : 0.002;
      zoomBy(Math.exp(-Math.max(-200, Math.min(200, lines)) * strength), this.#at(event));
    } else {
      pan(-event.deltaX, -event.deltaY);
    }
  }
}

function within(x: number, y: number): boolean {
  const { width, height } = photoSize();
  return x >= 0 && y >= 0 && x < width && y < height;
}

function clickAt(at: readonly [number, number], label: 0 | 1): void {
  const [x, y] = toPhoto(view.value, ...at);
  if (everything.value) {
    const index = foundAt(x, y);
    if (index !== null) pick([index]);
    aimed.value = null;
    return;
  }
  if (tool.value === "select") activate(thingAt(x, y)?.id ?? null);
  else if (tool.value === "point" || tool.value === "box") {
    if (within(x, y)) click(x, y, label);
  }
}

function hoverAt(at: readonly [number, number], label: 0 | 1): void {
  const [x, y] = toPhoto(view.value, ...at);
  if (everything.value) {
    aimed.value = foundAt(x, y);
    return;
  }
  if (tool.value === "select") {
    pointed.value = thingAt(x, y)?.id ?? null;
    return;
  }
  if ((tool.value === "point" || tool.value === "box") && within(x, y))
    preview(x, y, label, view.value.scale * devicePixelRatio);
  else dropHover();
}

const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function onKey(event: KeyboardEvent): void {
  if (!picture.value || event.ctrlKey || event.metaKey) return;
  const arrow = ARROWS[event.key];
  if (arrow || event.key === "Enter") (event.currentTarget as HTMLElement).setAttribute("data-keys", "");
  if (arrow) {
    event.preventDefault();
    const from = cursor.value ?? place.value ?? [size.value.width / 2, size.value.height / 2];
    const step = event.altKey ? view.value.scale : event.shiftKey ? 5 * KEY_STEP : KEY_STEP;
    const to = [from[0] + step * arrow[0], from[1] + step * arrow[1]] as const;
    cursor.value = [Math.max(0, Math.min(size.value.width, to[0])), Math.max(0, Math.min(size.value.height, to[1]))];
    hoverAt(cursor.value, negative.value ? 0 : 1);
  } else if (event.key === "Enter") {
    event.preventDefault();
    cursor.value ??= [size.value.width / 2, size.value.height / 2];
    const label = event.shiftKey || negative.value ? 0 : 1;
    if (tool.value === "brush" || tool.value === "eraser") {
      const points = [toPhoto(view.value, ...cursor.value)];
      paintStroke({ points, radius: brush.value / view.value.scale, erase: tool.value === "eraser" });
    } else clickAt(cursor.value, label);
  }
}

const holdSpace = (event: KeyboardEvent): void => {
  const inField =
    event.target instanceof HTMLElement && event.target.closest("input, textarea, select, button, dialog");
  if (event.key !== " " || inField) return;
  event.preventDefault();
  space.value = event.type === "keydown";
};

function cursorName(): string {
  if (panning.value) return "grabbing";
  if (space.value) return "grab";
  if (!picture.value) return "default";
  if (everything.value?.phase === "found") return aimed.value === null ? "default" : "pointer";
  if (tool.value === "select") return pointed.value === null ? "grab" : "pointer";
  if (tool.value === "brush" || tool.value === "eraser") return "none";
  return photoState.value === "ready" ? "crosshair" : "progress";
}

// Draws what has changed, at most once for each frame of the screen. What `draw` reads is what it waits for.
function eachFrame(draw: () => void): () => void {
  let asked = 0;
  let stop = (): void => {};
  const begin = (): void => {
    asked = 0;
    stop();
    let drawn = false;
    stop = effect(() => {
      if (drawn) asked ||= requestAnimationFrame(begin);
      else {
        drawn = true;
        draw();
      }
    });
  };
  begin();
  return () => {
    cancelAnimationFrame(asked);
    stop();
  };
}

/** Canvas of the photo, and above it those of all that is drawn on it. */
export function Stage() {
  const frame = useRef<HTMLDivElement>(null);
  const under = useRef<HTMLCanvasElement>(null);
  const middle = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const canvases = [under.current!, middle.current!, over.current!];
    new Pointers(over.current!);
    const observer = new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = frame.current!;
      if (width === 0 || height === 0) return;
      for (const canvas of canvases) {
        canvas.width = Math.round(width * devicePixelRatio);
        canvas.height = Math.round(height * devicePixelRatio);
      }
      size.value = { width, height };
      if (whole) fit();
      else pan(0, 0);
    });
    observer.observe(frame.current!);
    addEventListener("keydown", holdSpace);
    addEventListener("keyup", holdSpace);
    const stops = [
      eachFrame(() => drawPhoto(under.current!)),
      eachFrame(() => drawResting(middle.current!)),
      eachFrame(() => {
        theme.value;
        drawMarks(over.current!, getComputedStyle(over.current!).getPropertyValue("--accent").trim() || "#5b5bd6");
      }),
      effect(() => {
        over.current!.style.cursor = cursorName();
      }),
    ];
    return () => {
      observer.disconnect();
      removeEventListener("keydown", holdSpace);
      removeEventListener("keyup", holdSpace);
      for (const stop of stops) stop();
    };
  }, []);

  return (
    <div class="stage" ref={frame}>
      <canvas ref={under} aria-hidden="true" />
      <canvas ref={middle} aria-hidden="true" />
      <canvas
        ref={over}
        tabIndex={0}
        role="application"
        aria-label="Photo. Arrow keys move a cursor, Enter says this, Shift and Enter say not this."
        aria-describedby="said"
      />
    </div>
  );
}
