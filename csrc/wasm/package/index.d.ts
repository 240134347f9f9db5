/** EfficientViT-SAM in the browser: an image is encoded once, then masks are predicted from prompts. */

/** What every call throws, or rejects with, that cannot do what it is asked: "argument: expected X, got Y". */
export class EvsamError extends Error {
  readonly status: "invalid_argument" | "bad_weights" | "unavailable" | "out_of_memory" | "internal_error";
}

export interface LoadOptions {
  /**
   * How narrow the numbers may be that dense layers multiply. "fast", the default: the narrowest that keeps masks, which
   * is int8 for nano.
   */
  precision?: "fp32" | "int8" | "bf16" | "fp16" | "fast";
  /**
   * Upper limit of threads; 0, the default, for as many as the machine has. Pages that are not isolated from other
   * origins (the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp), and
   * node, have one.
   */
  threads?: number;
  /** A safetensors file of evsam's: its address, or its content. nano's, which is in the package, if there is none. */
  weights?: string | URL | Uint8Array | ArrayBuffer;
  /** Whether to compute in a worker, so that the page stays responsive. Where there are workers, true. */
  worker?: boolean;
  /** Whether the first image should be as fast as later ones; this makes loading longer. True. */
  warmUp?: boolean;
}

/** Loads a model. */
export function load(options?: LoadOptions): Promise<Sam>;

/** Bytes of R, G, B, A, row by row from the upper left pixel; alpha is not looked at. ImageData is one. */
export interface Pixels {
  readonly data: Uint8ClampedArray | Uint8Array;
  readonly width: number;
  readonly height: number;
}

/**
 * N prompts on one image, each made of T points, a box, a mask, or several of these. Coordinates are x, y in pixels of
 * the image; (0, 0) is the upper left pixel.
 */
export interface Prompts {
  /** [[x, y], ...] of one prompt, or a list of these for several. */
  points?: number[][] | number[][][];
  /** 1 on the object, 0 beside it: for each point. All are on it if there are none. */
  labels?: number[] | number[][];
  /** [x0, y0, x1, y1] of one prompt. */
  box?: ArrayLike<number>;
  /** The same of several. */
  boxes?: ArrayLike<number>[];
  /** Logits of an earlier prediction, 256 x 256 for each prompt. */
  mask?: Float32Array;
  /** Three masks per prompt, or one. Three where each prompt is a single click and nothing else, if not given. */
  multimask?: boolean;
  /** false where logits and scores are enough, which spares the time that masks of large images take. */
  masks?: boolean;
}

/** Named and meant as in Python's `segment_everything`; what is not given has the variant's or that one's default. */
export interface EverythingOptions {
  mode?: "fast" | "exact";
  pointsPerSide?: number;
  pointsPerBatch?: number;
  predIouThresh?: number;
  stabilityScoreThresh?: number;
  stabilityScoreOffset?: number;
  boxNmsThresh?: number;
  minMaskRegionArea?: number;
  /** Called after each batch of clicks. */
  progress?: (done: number, total: number) => void;
  /**
   * Ends the search: the promise is rejected at once with the signal's reason. The worker stops after the batch it is
   * in where the page is isolated from other origins; elsewhere it searches to the end, and nobody hears of it.
   */
  signal?: AbortSignal;
}

/** Something that was found in an image. */
export interface Segment {
  /** Its mask in COCO's compressed run-length encoding; size is height, width. */
  readonly rle: { readonly size: [number, number]; readonly counts: string };
  /** Around the mask: x0, y0, x1, y1 along the edges of pixels. */
  readonly box: [number, number, number, number];
  /** Pixels of the mask. */
  readonly area: number;
  /** Expected overlap with an object. */
  readonly predictedIou: number;
  /** 1 where nothing depends on the threshold. */
  readonly stabilityScore: number;
  /** x, y of the click that it was found by. */
  readonly point: [number, number];
}

/** A loaded model. Calls are answered in their order. */
export class Sam {
  private constructor();
  /** The name of its variant: "nano". */
  readonly variant: string;
  /** Threads that compute. */
  readonly threads: number;
  /** Whether it encodes: false for weights that hold the decoder alone. */
  readonly encodes: boolean;
  /** Encodes an image, the costly part, once for any number of predictions. Files (Blob) are turned by their EXIF. */
  encode(image: Pixels | Blob | CanvasImageSource): Promise<Embedding>;
  /**
   * An embedding that was computed elsewhere: the file (safetensors, float16 or float32) that a server's
   * `GET /v1/embeddings/{handle}` gives, and Python's `Embedding.save` writes. It must come from an encoder with the
   * weights of this model's, which nothing checks but the variant's name.
   */
  readEmbedding(content: Uint8Array | ArrayBuffer): Promise<Embedding>;
  /** Predicts the masks that prompts ask for. */
  predict(embedding: Embedding, prompts: Prompts): Promise<Prediction>;
  /** Finds all that is in an image, without prompts; the masks with the most predicted IoU come first. */
  segmentEverything(embedding: Embedding, options?: EverythingOptions): Promise<Segment[]>;
  /** Ends the worker and gives its memory back; calls that wait are rejected. */
  close(): void;
}

/** An encoded image. */
export class Embedding {
  private constructor();
  /** Of the image, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Digest of the encoder's weights, of an embedding that was read; otherwise undefined. */
  readonly fingerprint?: string;
  /** Gives its memory back, some megabytes. Embeddings that are no longer referred to are closed some time later. */
  close(): void;
}

/** M masks (three or one) for each of N prompts. */
export class Prediction {
  private constructor();
  /** N, M, height, width. */
  readonly shape: [number, number, number, number];
  /** (N, M, height, width): 1 on the object, 0 elsewhere; undefined where prompts say `masks: false`. */
  readonly masks: Uint8Array;
  /** (N, M): expected overlap (IoU) with the object. */
  readonly scores: Float32Array;
  /** (N, M, 256, 256): for a later prompt's `mask`. */
  readonly logits: Float32Array;
  /** (height, width), a part of `masks`: mask `index` of a prompt, or its best one. */
  mask(prompt?: number, index?: number): Uint8Array;
  /** The best mask of each prompt. */
  best(): Uint8Array[];
}
