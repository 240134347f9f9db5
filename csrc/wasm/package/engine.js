// The C interface (evsam.h), compiled to WebAssembly: arguments become structures in its memory, results typed arrays
// outside it. Runs where it is called; index.js puts it into a worker.

// What evsam.h calls it, in the order of its numbers.
const STATUS = ["ok", "invalid_argument", "bad_weights", "unavailable", "out_of_memory", "internal_error"];
const PRECISION = ["fp32", "int8", "bf16", "fp16", "fast"];
const RGBA = 2;
const PLANE = 256 * 256; // of a mask's logits

// A module of one function that adds nothing up but vectors.
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0,
  253, 15, 253, 98, 11);

export class EvsamError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "EvsamError";
    this.status = status;
  }
}

const refuse = (argument, expected, got) => {
  throw new EvsamError("invalid_argument", `${argument}: expected ${expected}, got ${got}`);
};

async function read(url) {
  if (url.protocol === "file:") {
    const files = "node:fs/promises"; // a name that bundlers do not look for
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ files)).readFile(url);
  }
  const response = await fetch(url);
  if (!response.ok) throw new EvsamError("bad_weights", `${url}: expected a file, got status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Threads by which a module may compute here: one, unless the page is isolated from others. */
export function availableThreads() {
  return globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function"
    ? Math.max(1, navigator.hardwareConcurrency)
    : 1;
}

export class Engine {
  static async create({ precision = "fast", threads = 0, weights, warmUp = true } = {}) {
    if (!WebAssembly.validate(SIMD)) {
      throw new EvsamError("unavailable", "WebAssembly: expected one with 128-bit SIMD, got one without");
    }
    if (!PRECISION.includes(precision)) refuse("precision", `one of ${PRECISION.join(", ")}`, precision);
    if (!Number.isInteger(threads) || threads < 0) refuse("threads", "a whole number of 0 or more", threads);
    const most = availableThreads();
    const count = threads === 0 ? most : Math.min(threads, most);
    const [{ default: start }, binary, content] = await Promise.all([
      count > 1 ? import("./wasm/evsam-threads.js") : import("./wasm/evsam.js"),
      read(
        count > 1
          ? new URL("./wasm/evsam-threads.wasm", import.meta.url)
          : new URL("./wasm/evsam.wasm", import.meta.url),
      ),
      weights instanceof Uint8Array
        ? weights
        : read(weights === undefined ? new URL("./nano.safetensors", import.meta.url) : new URL(weights)),
    ]);
    const engine = new Engine(await start({ wasmBinary: binary, threads: count }), count);
    engine.#load(content, PRECISION.indexOf(precision));
    if (warmUp) engine.#warmUp();
    return engine;
  }

  #module;
  #model = 0;
  threads;

  constructor(module, threads) {
    this.#module = module;
    this.threads = threads;
  }

  get variant() {
    return this.#text(this.#module._evsam_variant(this.#model));
  }

  /** image: data of R, G, B, A bytes, width, height. Returns a number for the embedding, and its size in the image. */
  encode({ data, width, height }) {
    if (data.length !== 4 * width * height) {
      refuse("image.data", `4 * ${width} * ${height} bytes`, data.length);
    }
    return this.#within((memory) => {
      const handle = memory.reserve(4);
      this.#check(this.#module._evsam_embedding_create(this.#model, handle));
      const embedding = this.#view().getUint32(handle, true);
      try {
        const pixels = memory.copy(data);
        const image = memory.reserve(40); // evsam_image
        const view = this.#view();
        view.setUint32(image, 40, true);
        view.setUint32(image + 4, pixels, true);
        view.setBigInt64(image + 8, BigInt(height), true);
        view.setBigInt64(image + 16, BigInt(width), true);
        view.setInt32(image + 32, RGBA, true);
        this.#check(this.#module._evsam_encode_image(this.#model, image, embedding));
      } catch (error) {
        this.#module._evsam_embedding_free(embedding);
        throw error;
      }
      return embedding;
    });
  }

  /** One map of an embedding, by its number: float32 (channels, rows, columns). */
  map(embedding, index) {
    return this.#within((memory) => {
      const data = memory.reserve(4);
      const shape = memory.reserve(3 * 8);
      this.#check(this.#module._evsam_embedding_map(embedding, index, data, shape));
      const sizes = this.#sizes(shape, 3);
      return { data: this.#floats(this.#view().getUint32(data, true), sizes.reduce((a, b) => a * b)), shape: sizes };
    });
  }

  /** prompts: count, pointsEach, and points, labels, boxes and mask as typed arrays, or undefined; multimask. */
  predict(embedding, prompts) {
    return this.#within((memory) => {
      const given = memory.reserve(48); // evsam_prompts
      const arrays = ["points", "labels", "boxes", "mask"].map((name) => {
        const array = prompts[name];
        return array === undefined ? 0 : memory.copy(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
      });
      const view = this.#view();
      view.setUint32(given, 48, true);
      view.setBigInt64(given + 8, BigInt(prompts.count), true);
      view.setBigInt64(given + 16, BigInt(prompts.pointsEach), true);
      arrays.forEach((pointer, i) => view.setUint32(given + 24 + 4 * i, pointer, true));
      view.setInt32(given + 40, prompts.multimask === undefined ? 0 : prompts.multimask ? 1 : 2, true);
      const sizes = memory.reserve(4 * 8);
      this.#check(this.#module._evsam_prediction_shape(embedding, given, sizes));
      const shape = this.#sizes(sizes, 4);
      const [n, m, height, width] = shape;
      const masks = memory.reserve(n * m * height * width);
      const scores = memory.reserve(4 * n * m);
      const logits = memory.reserve(4 * n * m * PLANE);
      this.#check(this.#module._evsam_predict(this.#model, embedding, given, masks, scores, logits));
      return {
        shape,
        masks: this.#module.HEAPU8.slice(masks, masks + n * m * height * width),
        scores: this.#floats(scores, n * m),
        logits: this.#floats(logits, n * m * PLANE),
      };
    });
  }

  free(embedding) {
    this.#module._evsam_embedding_free(embedding);
  }

  #load(content, precision) {
    this.#model = this.#within((memory) => {
      const weights = memory.copy(content);
      const options = memory.reserve(12); // evsam_options
      const model = memory.reserve(4);
      const view = this.#view();
      view.setUint32(options, 12, true);
      view.setInt32(options + 4, this.threads, true);
      view.setInt32(options + 8, precision, true);
      this.#check(this.#module._evsam_load_memory(weights, content.length, 0, options, model));
      return this.#view().getUint32(model, true);
    });
  }

  // Browsers compile quickly first, and well what has been running for a while: a picture of nothing makes them begin.
  #warmUp() {
    const side = 64;
    const embedding = this.encode({ data: new Uint8Array(4 * side * side), width: side, height: side });
    const points = Float32Array.of(side / 2, side / 2);
    this.predict(embedding, { count: 1, pointsEach: 1, points, labels: Int32Array.of(1) });
    this.free(embedding);
  }

  // Memory for one call. It may grow at every reservation, so views of it are made anew.
  #within(call) {
    const pointers = [];
    const memory = {
      reserve: (bytes) => {
        const pointer = this.#module._malloc(Math.max(bytes, 1));
        if (pointer === 0) throw new EvsamError("out_of_memory", `memory: expected ${bytes} bytes, got none`);
        pointers.push(pointer);
        this.#module.HEAPU8.fill(0, pointer, pointer + Math.min(bytes, 64)); // structures begin as zeros
        return pointer;
      },
      copy: (bytes) => {
        const pointer = memory.reserve(bytes.length);
        this.#module.HEAPU8.set(bytes, pointer);
        return pointer;
      },
    };
    try {
      return call(memory);
    } finally {
      for (const pointer of pointers) this.#module._free(pointer);
    }
  }

  #check(status) {
    if (status !== 0) throw new EvsamError(STATUS[status], this.#text(this.#module._evsam_last_error()));
  }

  #view() {
    return new DataView(this.#module.HEAPU8.buffer);
  }

  #sizes(pointer, count) {
    const view = this.#view();
    return Array.from({ length: count }, (_, i) => Number(view.getBigInt64(pointer + 8 * i, true)));
  }

  #floats(pointer, count) {
    return new Float32Array(this.#module.HEAPU8.slice(pointer, pointer + 4 * count).buffer);
  }

  #text(pointer) {
    const bytes = this.#module.HEAPU8;
    return new TextDecoder().decode(bytes.slice(pointer, bytes.indexOf(0, pointer)));
  }
}
