// The npm package `evsam`, which lies beside the page as it is: its modules start workers and find their files on their
// own, so no bundler has anything to do with them.
import type {
  Embedding,
  EverythingOptions,
  LoadOptions,
  Prediction,
  Prompts,
  Segment,
} from "../../../csrc/wasm/package";
import { EngineError, type Progress } from "./engine";

export type { Embedding, Prediction, Prompts, Segment };

export interface Sam {
  readonly variant: string;
  readonly threads: number;
  readonly encodes: boolean;
  encode(image: ImageData): Promise<Embedding>;
  readEmbedding(content: ArrayBuffer): Promise<Embedding>;
  predict(embedding: Embedding, prompts: Prompts): Promise<Prediction>;
  segmentEverything(embedding: Embedding, options?: EverythingOptions): Promise<Segment[]>;
  close(): void;
}

const beside = (path: string): string => new URL(path, document.baseURI).href;

/** Loads a model into a worker, with weights from an address or from memory. */
export async function loadModel(weights: Uint8Array, options: LoadOptions = {}): Promise<Sam> {
  const { load } = (await import(/* @vite-ignore */ beside("evsam/index.js"))) as {
    load(options: LoadOptions): Promise<Sam>;
  };
  try {
    return await load({ ...options, weights });
  } catch (error) {
    throw told(error);
  }
}

/** nano's weights, which lie beside the page. */
export async function fetchWeights(progress: Progress, signal?: AbortSignal): Promise<Uint8Array> {
  const response = await fetch(beside("nano.safetensors"), signal ? { signal } : {}).catch(() => null);
  if (!response?.ok) throw new EngineError("unreachable", "The model's file could not be loaded.");
  return readAll(response, progress);
}

/** The body of an answer, which tells how much of it has come. */
export async function readAll(response: Response, progress: Progress): Promise<Uint8Array> {
  const total = Number(response.headers.get("Content-Length")) || null;
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    progress(total === null ? null : Math.min(1, length / total));
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** An error of the package as people should read it. */
export function told(error: unknown): unknown {
  const status = (error as { status?: string }).status;
  if (status === "unavailable") {
    return new EngineError("browser", "This browser has no WebAssembly with SIMD, which the model needs.");
  }
  if (status === "out_of_memory" || (status === "internal_error" && /memory|abort|unreachable/i.test(String(error)))) {
    return new EngineError("memory", "There was not enough memory for this photo.");
  }
  return error;
}
