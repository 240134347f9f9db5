// The C interface (evsam.h), compiled to WebAssembly: arguments become structures in its memory, results typed arrays
// outside it. Runs where it is called; index.js puts it into a worker.

// What evsam.h calls it, in the order of its numbers.
const STATUS = ["ok", "invalid_argument", "bad_weights", "unavailable", "out_of_memory", "internal_error"];
const PRECISION = ["fp32", "int8", "bf16", "fp16", "fast"];
const RGBA = 2;
const PLANE = 256 * 256; // of a mask's logits

// evsam_everything_options: where each member lies, and what it is.
const EVERYTHING = {
  pointsPerSide: [8, "a whole number"],
  pointsPerBatch: [16, "a whole number"],
  predIouThresh: [24, "a number"],
  stabilityScoreThresh: [32, "a number"],
  stabilityScoreOffset: [40, "a number"],
  boxNmsThresh: [48, "a number"],
  minMaskRegionArea: [88, "a whole number"],
};
const MODES = ["fast", "exact"];

// Of the names in a file that holds an embedding: the embedding comes first, then lateral maps, coarse to fine.
const MAP = /^(features|lateral\.\d+)$/;

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

// float32 of all float16 there are.
let halves;
function widened(bits) {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
  const wide = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; ++i) wide[i] = halves[bits[i]];
  return wide;
}

// An embedding's file (safetensors): metadata, and its maps in their order as float32.
function embeddingFile(content) {
  const damaged = (got) => refuse("content", "the file of an embedding", got);
  if (content.length < 8) damaged(`${content.length} bytes`);
  const length = new DataView(content.buffer, content.byteOffset).getUint32(0, true);
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(content.subarray(8, 8 + length)));
  } catch {
    damaged("other bytes");
  }
  const names = Object.keys(header ?? {}).filter((name) => MAP.test(name)).sort();
  const maps = names.map((name) => {
    const { dtype, data_offsets: [begin, end] = [] } = header[name];
    const bytes = { F16: 2, F32: 4 }[dtype];
    if (bytes === undefined) damaged(`${name} in ${dtype}`);
    const part = content.slice(8 + length + begin, 8 + length + end);
    if (!(begin >= 0 && part.length === end - begin && part.length % bytes === 0)) damaged(`a part of ${name}`);
    return bytes === 2 ? widened(new Uint16Array(part.buffer)) : new Float32Array(part.buffer);
  });
  const { variant, fingerprint, original_size: size } = header?.__metadata__ ?? {};
  const [height, width] = /^\[\d+, ?\d+\]$/.test(size) ? JSON.parse(size) : damaged("none of an image's size");
  if (maps.length === 0) damaged("none of an embedding's maps");
  return { maps, variant, fingerprint, height, width };
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
    if (warmUp && engine.encodes) engine.#warmUp();
    return engine;
  }

  #module;
  #model = 0;
  threads;

  #watch = () => true; // of the search in progress: told how far it is, and says whether to go on
  #onProgress; // the same as a function pointer

  constructor(module, threads) {
    this.#module = module;
    this.threads = threads;
    this.#onProgress = module.addFunction(
      (_, done, total) => (this.#watch(Number(done), Number(total)) ? 0 : 1),
      "iijj",
    );
  }

  get variant() {
    return this.#text(this.#module._evsam_variant(this.#model));
  }

  get encodes() {
    return this.#module._evsam_encodes(this.#model) !== 0;
  }

  /** image: data of R, G, B, A bytes, width, height. Returns a number for the embedding, and its size in the image. */
  encode({ data, width, height }) {
    if (data.length !== 4 * width * height) {
      refuse("image.data", `4 * ${width} * ${height} bytes`, data.length);
    }
    return this.#newEmbedding((memory, embedding) => {
      const pixels = memory.copy(data);
      const image = memory.reserve(40); // evsam_image
      const view = this.#view();
      view.setUint32(image, 40, true);
      view.setUint32(image + 4, pixels, true);
      view.setBigInt64(image + 8, BigInt(height), true);
      view.setBigInt64(image + 16, BigInt(width), true);
      view.setInt32(image + 32, RGBA, true);
      this.#check(this.#module._evsam_encode_image(this.#model, image, embedding));
    });
  }

  /** content: bytes of the file of an embedding, of which the maps are taken over. What encode() returns, and more. */
  fill(content) {
    const { maps, variant, fingerprint, height, width } = embeddingFile(content);
    if (variant !== this.variant) refuse("content", `an embedding of ${this.variant}`, `one of ${variant}`);
    const handle = this.#newEmbedding((memory, embedding) => {
      const pointers = maps.map((map) => memory.copy(new Uint8Array(map.buffer)));
      const list = memory.reserve(4 * maps.length);
      const sizes = memory.reserve(8 * maps.length);
      const view = this.#view();
      maps.forEach((map, i) => {
        view.setUint32(list + 4 * i, pointers[i], true);
        view.setBigInt64(sizes + 8 * i, BigInt(map.length), true);
      });
      const size = [BigInt(height), BigInt(width)];
      this.#check(this.#module._evsam_embedding_fill(embedding, ...size, maps.length, list, sizes));
    });
    return { handle, fingerprint, height, width };
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

  /**
   * prompts: count, pointsEach, and points, labels, boxes and mask as typed arrays, or undefined; multimask; masks: false
   * where the logits are enough.
   */
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
      const wanted = prompts.masks ?? true;
      const masks = wanted ? memory.reserve(n * m * height * width) : 0;
      const scores = memory.reserve(4 * n * m);
      const logits = memory.reserve(4 * n * m * PLANE);
      this.#check(this.#module._evsam_predict(this.#model, embedding, given, masks, scores, logits));
      return {
        shape,
        masks: wanted ? this.#module.HEAPU8.slice(masks, masks + n * m * height * width) : undefined,
        scores: this.#floats(scores, n * m),
        logits: this.#floats(logits, n * m * PLANE),
      };
    });
  }

  /** Records of all that is found. watch: called with clicks done and in all; what it returns says whether to go on. */
  everything(embedding, { mode = "fast", ...options }, watch = () => true) {
    if (!MODES.includes(mode)) refuse("mode", `one of ${MODES.join(", ")}`, mode);
    for (const [name, value] of Object.entries(options)) {
      if (!(name in EVERYTHING)) refuse("options", `some of mode, ${Object.keys(EVERYTHING).join(", ")}`, name);
      const right = EVERYTHING[name][1] === "a whole number" ? Number.isSafeInteger : Number.isFinite;
      if (!right(value)) refuse(name, EVERYTHING[name][1], value);
    }
    return this.#within((memory) => {
      const given = memory.reserve(120); // evsam_everything_options
      const found = memory.reserve(4);
      const view = this.#view();
      view.setUint32(given, 120, true);
      view.setInt32(given + 4, MODES.indexOf(mode), true);
      for (const [name, value] of Object.entries(options)) {
        const [place, kind] = EVERYTHING[name];
        if (kind === "a whole number") view.setBigInt64(given + place, BigInt(value), true);
        else view.setFloat64(given + place, value, true);
      }
      view.setUint32(given + 96, this.#onProgress, true);
      this.#watch = watch;
      this.#check(this.#module._evsam_everything(this.#model, 0, embedding, given, found));
      const segments = this.#view().getUint32(found, true);
      try {
        const count = Number(this.#module._evsam_segments_count(segments));
        return Array.from({ length: count }, (_, i) => this.#segment(memory, segments, i));
      } finally {
        this.#module._evsam_segments_free(segments);
      }
    });
  }

  free(embedding) {
    this.#module._evsam_embedding_free(embedding);
  }

  #segment(memory, segments, index) {
    const one = memory.reserve(120); // evsam_segment
    this.#view().setUint32(one, 120, true);
    this.#check(this.#module._evsam_segments_get(segments, BigInt(index), one));
    const view = this.#view();
    return {
      counts: this.#text(view.getUint32(one + 116, true)),
      box: this.#sizes(one + 8, 4),
      area: Number(view.getBigInt64(one + 40, true)),
      predictedIou: view.getFloat32(one + 48, true),
      stabilityScore: view.getFloat32(one + 52, true),
      point: [view.getFloat64(one + 56, true), view.getFloat64(one + 64, true)],
    };
  }

  // A new embedding's handle, which `fill(memory, handle)` has filled.
  #newEmbedding(fill) {
    return this.#within((memory) => {
      const handle = memory.reserve(4);
      this.#check(this.#module._evsam_embedding_create(this.#model, handle));
      const embedding = this.#view().getUint32(handle, true);
      try {
        fill(memory, embedding);
      } catch (error) {
        this.#module._evsam_embedding_free(embedding);
        throw error;
      }
      return embedding;
    });
  }

  #load(content, precision) {
    this.#model = this.#within((memory) => {
      const weights = memory.copy(content);
      const options = memory.reserve(16); // evsam_options
      const model = memory.reserve(4);
      const view = this.#view();
      view.setUint32(options, 16, true);
      view.setInt32(options + 4, this.threads, true);
      view.setInt32(options + 8, precision, true);
      view.setInt32(options + 12, 0, true); // there is no disk for packed weights
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
        this.#module.HEAPU8.fill(0, pointer, pointer + Math.min(bytes, 128)); // structures begin as zeros
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
