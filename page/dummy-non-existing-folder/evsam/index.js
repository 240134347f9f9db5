// What users see, with the names that Python has: load, encode, predict. index.d.ts says what everything is.
import { Engine, EvsamError } from "./engine.js";

export { EvsamError };

const PLANE = 256 * 256;

const refuse = (argument, expected, got) => {
  throw new EvsamError("invalid_argument", `${argument}: expected ${expected}, got ${got}`);
};

const check = (argument, number, count) => {
  if (!(Number.isInteger(number) && number >= 0 && number < count)) {
    refuse(argument, `a whole number below ${count}`, number);
  }
};

/** Calls an engine in a worker. */
class RemoteEngine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #next = 0;

  static async create(options) {
    const engine = new RemoteEngine();
    try {
      Object.assign(engine, await engine.#call("create", options));
    } catch (error) {
      engine.close();
      throw error;
    }
    return engine;
  }

  constructor() {
    this.#worker.onmessage = ({ data: { id, progress, result, error } }) => {
      const { resolve, reject, onProgress } = this.#waiting.get(id);
      if (progress !== undefined) {
        onProgress?.(...progress);
        return;
      }
      this.#waiting.delete(id);
      if (error) reject(new EvsamError(error.status, error.message));
      else resolve(result);
    };
    this.#worker.onerror = (event) => this.#end(event.message ?? "an error in the worker");
  }

  encode = (image) => this.#call("encode", image);
  fill = (content) => this.#call("fill", content);
  map = (embedding, index) => this.#call("map", embedding, index);
  predict = (embedding, prompts) => this.#call("predict", embedding, prompts);
  free = (embedding) => this.#call("free", embedding).catch(() => {}); // a worker that has ended has freed it

  // The worker is busy until it has found everything, so memory that both see tells it to stop: where a page is isolated.
  everything(embedding, options, progress, signal) {
    const stop = globalThis.crossOriginIsolated ? new Int32Array(new SharedArrayBuffer(4)) : undefined;
    const onAbort = () => stop && Atomics.store(stop, 0, 1);
    signal?.addEventListener("abort", onAbort, { once: true });
    const found = this.#watched(progress, "everything", embedding, options, stop);
    return found.finally(() => signal?.removeEventListener("abort", onAbort));
  }

  close() {
    this.#worker.terminate();
    this.#end("a closed one");
  }

  #call = (method, ...values) => this.#watched(undefined, method, ...values);

  #watched(onProgress, method, ...values) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onProgress });
      this.#worker.postMessage({ id, method, values });
    });
  }

  #end(why) {
    for (const { reject } of this.#waiting.values()) {
      reject(new EvsamError("internal_error", `worker: expected one that answers, got ${why}`));
    }
    this.#waiting.clear();
  }
}

/** Loads a model. */
export async function load({ worker = typeof Worker === "function", ...options } = {}) {
  if (typeof options.weights === "string") options.weights = new URL(options.weights, globalThis.document?.baseURI).href;
  if (options.weights instanceof URL) options.weights = options.weights.href;
  if (options.weights instanceof ArrayBuffer) options.weights = new Uint8Array(options.weights);
  return new Sam(worker ? await RemoteEngine.create(options) : await Engine.create(options));
}

class Sam {
  #engine;
  // Embeddings that nobody has any more.
  #lost = new FinalizationRegistry((handle) => this.#engine?.free(handle));

  constructor(engine) {
    this.#engine = engine;
    this.variant = engine.variant;
    this.threads = engine.threads;
    this.encodes = engine.encodes;
  }

  async encode(image) {
    const { data, width, height } = await pixels(image);
    return this.#keep(await this.#open().encode({ data, width, height }), width, height);
  }

  async readEmbedding(content) {
    const bytes = content instanceof ArrayBuffer ? new Uint8Array(content) : content;
    if (!(bytes instanceof Uint8Array)) refuse("content", "a Uint8Array or an ArrayBuffer", String(content));
    const { handle, width, height, fingerprint } = await this.#open().fill(bytes);
    return this.#keep(handle, width, height, fingerprint);
  }

  async predict(embedding, { masks, ...prompts } = {}) {
    const engine = this.#open();
    return new Prediction(await engine.predict(this.#handle(embedding), { ...arrays(prompts), masks }));
  }

  async segmentEverything(embedding, { progress, signal, ...options } = {}) {
    const engine = this.#open();
    const handle = this.#handle(embedding);
    signal?.throwIfAborted();
    const watch = (done, total) => {
      if (!signal?.aborted) progress?.(done, total);
      return !signal?.aborted;
    };
    const aborted = new Promise((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    const found = await Promise.race([engine.everything(handle, options, watch, signal), aborted]);
    signal?.throwIfAborted();
    const size = [embedding.height, embedding.width];
    return found.map(({ counts, ...segment }) => ({ rle: { size, counts }, ...segment }));
  }

  /** For tests: map number `index` of an embedding. */
  async _map(embedding, index) {
    return this.#open().map(this.#handle(embedding), index);
  }

  _free(embedding) {
    this.#lost.unregister(embedding);
    this.#engine?.free(embedding._handle);
  }

  close() {
    this.#engine?.close?.();
    this.#engine = undefined;
  }

  #keep(handle, width, height, fingerprint) {
    const embedding = new Embedding(this, handle, width, height, fingerprint);
    this.#lost.register(embedding, handle, embedding);
    return embedding;
  }

  #open() {
    return this.#engine ?? refuse("sam", "one that is open", "a closed one");
  }

  #handle(embedding) {
    if (!(embedding instanceof Embedding) || embedding._sam !== this) {
      refuse("embedding", "one of this model", "something else");
    }
    return embedding._handle ?? refuse("embedding", "one that is open", "a closed one");
  }
}

class Embedding {
  constructor(sam, handle, width, height, fingerprint) {
    this._sam = sam;
    this._handle = handle;
    this.width = width;
    this.height = height;
    this.fingerprint = fingerprint;
  }

  close() {
    if (this._handle === undefined) return;
    this._sam._free(this);
    this._handle = undefined;
  }
}

class Prediction {
  constructor({ shape, masks, scores, logits }) {
    Object.assign(this, { shape, masks, scores, logits });
  }

  mask(prompt = 0, index = this.#best(prompt)) {
    if (this.masks === undefined) refuse("masks", "a prediction with masks", "one without");
    const [count, each, height, width] = this.shape;
    check("prompt", prompt, count);
    check("index", index, each);
    const size = height * width;
    return this.masks.subarray((prompt * each + index) * size, (prompt * each + index + 1) * size);
  }

  best() {
    return Array.from({ length: this.shape[0] }, (_, prompt) => this.mask(prompt));
  }

  #best(prompt) {
    const scores = this.scores.subarray(prompt * this.shape[1], (prompt + 1) * this.shape[1]);
    return scores.indexOf(Math.max(...scores));
  }
}

// R, G, B, A of whatever holds pixels.
async function pixels(image) {
  if (image?.data instanceof Uint8Array || image?.data instanceof Uint8ClampedArray) return image;
  const isBlob = typeof Blob === "function" && image instanceof Blob;
  if (typeof OffscreenCanvas !== "function" || !(isBlob || image?.width > 0)) {
    refuse("image", "ImageData, a Blob, or what a canvas can draw", String(image));
  }
  const drawn = isBlob ? await createImageBitmap(image) : image;
  const context = new OffscreenCanvas(drawn.width, drawn.height).getContext("2d");
  context.drawImage(drawn, 0, 0);
  if (isBlob) drawn.close();
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}

// How deep arrays are nested, by their first elements.
const depth = (value) => (Array.isArray(value) || ArrayBuffer.isView(value) ? 1 + depth(value[0]) : 0);

// Prompts as the engine takes them: flat arrays, and points of all prompts filled up to as many as the longest has.
function arrays({ points, labels, box, boxes, mask, multimask } = {}) {
  if (box !== undefined && boxes !== undefined) refuse("boxes", "box or boxes", "both");
  if (points === undefined && labels !== undefined) refuse("labels", "points they belong to", "labels alone");
  const counts = {};
  const result = { pointsEach: 0, multimask };
  if (points !== undefined) {
    const nested = depth(points);
    if (nested !== 2 && nested !== 3) refuse("points", "[[x, y], ...], or a list of these", `a depth of ${nested}`);
    const each = nested === 2 ? [points] : points;
    const named = labels === undefined ? each.map((some) => some.map(() => 1)) : nested === 2 ? [labels] : labels;
    const lengths = (list) => list.map((some) => some.length).join(", ");
    if (lengths(named) !== lengths(each)) refuse("labels", `one for each point (${lengths(each)})`, lengths(named));
    result.pointsEach = Math.max(...each.map((some) => some.length));
    result.points = new Float32Array(2 * each.length * result.pointsEach);
    result.labels = new Int32Array(each.length * result.pointsEach).fill(-1);
    each.forEach((some, i) => {
      some.forEach((point, j) => {
        if (point.length !== 2) refuse("points", "x, y of each", `${point.length} numbers`);
        result.points.set(point, 2 * (i * result.pointsEach + j));
        result.labels[i * result.pointsEach + j] = named[i][j];
      });
    });
    counts.points = each.length;
  }
  if (box !== undefined || boxes !== undefined) {
    const each = boxes ?? [box];
    for (const one of each) {
      if (one.length !== 4) refuse(boxes ? "boxes" : "box", "x0, y0, x1, y1", `${one.length} numbers`);
    }
    result.boxes = Float32Array.from(each.flatMap((one) => [...one]));
    counts.boxes = each.length;
  }
  if (mask !== undefined) {
    if (!(mask instanceof Float32Array) || mask.length % PLANE !== 0) {
      refuse("mask", "a Float32Array of 256 x 256 logits for each prompt", `${mask?.constructor?.name} of ${mask?.length}`);
    }
    result.mask = mask;
    counts.mask = mask.length / PLANE;
  }
  const numbers = Object.values(counts);
  if (numbers.length === 0) refuse("prompts", "points, a box or a mask", "none");
  if (numbers.some((number) => number !== numbers[0])) {
    refuse("prompts", "as many of one kind as of another", JSON.stringify(counts));
  }
  result.count = numbers[0];
  return result;
}
