// What the page asks of a model, wherever that computes.
import type { Prompts } from "../core/annotations";
import type { Mask } from "../core/mask";
import type { Rle } from "../core/rle";

/** Which engine a person chose. */
export type Kind = "tab" | "server";

export interface ModelInfo {
  readonly kind: Kind;
  /** Of the variant: "nano". */
  readonly name: string;
  /** Where it computes, for people: "2 threads", "cuda:0". */
  readonly place: string;
}

/** A photo as engines take it: the file itself, and its size once it is turned as its EXIF says. */
export interface Source {
  readonly blob: Blob;
  readonly width: number;
  readonly height: number;
}

/** An encoded photo, of the engine that made it. */
export interface Encoded {
  readonly width: number;
  readonly height: number;
  /** Gives its memory back. */
  close(): void;
}

/** A mask in the form in which an engine has it. */
export type AnyMask =
  | { readonly kind: "rle"; readonly rle: Rle }
  | { readonly kind: "mask"; readonly mask: Mask }
  /** 256 x 256, in the square frame of the photo's longer side: on the object above 0. */
  | { readonly kind: "logits"; readonly logits: Float32Array; readonly width: number; readonly height: number };

export interface Answer {
  readonly mask: AnyMask;
  /** Expected overlap (IoU) with the object. */
  readonly score: number;
}

export interface Found {
  readonly rle: Rle;
  readonly area: number;
  readonly score: number;
}

/** How far something is, 0 to 1; null where nobody knows. */
export type Progress = (part: number | null) => void;

export interface Engine {
  /** Encodes a photo, once for any number of predictions. */
  encode(photo: Source, signal?: AbortSignal): Promise<Encoded>;
  /**
   * The masks that prompts ask for: three for a single click, otherwise one.
   *
   * @param preview the best one alone, as fast as the engine can, and perhaps coarser: for the pointer.
   */
  predict(embedding: Encoded, prompts: Prompts, preview?: boolean): Promise<Answer[]>;
  /** All that is in a photo, best first. */
  everything(embedding: Encoded, progress: Progress, signal: AbortSignal): Promise<Found[]>;
  model(): ModelInfo;
  close(): void;
}

/** What went wrong, as people should read it, and whether they can do something about it. */
export class EngineError extends Error {
  constructor(
    readonly reason: "token" | "busy" | "unreachable" | "photo" | "memory" | "browser" | "other",
    message: string,
  ) {
    super(message);
    this.name = "EngineError";
  }
}

/** The answer with the highest score. */
export function bestAnswer(answers: readonly Answer[]): Answer | undefined {
  return answers.reduce<Answer | undefined>((best, one) => (!best || one.score > best.score ? one : best), undefined);
}
