// The model of the server that this page comes from, by its /v1 paths.
import type { Prompts } from "../core/annotations";
import type { Rle } from "../core/rle";
import {
  type Answer,
  type Encoded,
  type Engine,
  EngineError,
  type Found,
  type ModelInfo,
  type Progress,
  type Source,
} from "./engine";

/** Answers of GET /v1/model that the page reads. */
export interface ServerModel {
  readonly variant: string;
  readonly fingerprint: string;
  readonly engine: string;
  readonly device: string;
  /** Whether GET /v1/model/decoder has weights. */
  readonly decoder: boolean;
  readonly limits: { readonly photo_bytes: number; readonly photo_pixels: number; readonly formats: readonly string[] };
}

interface PredictAnswer {
  readonly prompts: readonly (readonly { readonly rle: Rle; readonly score: number }[])[];
}

interface EverythingAnswer {
  readonly segments: readonly { readonly rle: Rle; readonly area: number; readonly predicted_iou: number }[];
}

const FORMATS: Record<string, string> = {
  "image/jpeg": "JPEG",
  "image/png": "PNG",
  "image/webp": "WEBP",
  "image/bmp": "BMP",
};
const TRIES = 4;

/** Calls of a server: with the token where it wants one, again where it is busy, and with errors that people read. */
export class Server {
  #token: string | null;

  constructor(token: string | null) {
    this.#token = token;
  }

  /** @throws EngineError: it cannot be reached, wants another token, or has no answer. */
  async call(path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    for (let attempt = 1; ; ++attempt) {
      const response = await this.#send(path, body, signal);
      if (response.ok) return response;
      if (response.status === 429 && attempt < TRIES) {
        const seconds = Math.min(10, Number(response.headers.get("Retry-After")) || 1);
        await new Promise((done) => setTimeout(done, 1000 * seconds));
        signal?.throwIfAborted();
        continue;
      }
      const { error } = (await response.json().catch(() => ({}))) as { error?: { code?: string; message?: string } };
      throw new ServerError(response.status, error?.code ?? "", error?.message ?? `status ${response.status}`);
    }
  }

  async #send(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = {};
    if (this.#token !== null) headers["Authorization"] = `Bearer ${this.#token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    try {
      return await fetch(new URL(path, document.baseURI), {
        method: body === undefined ? "GET" : "POST",
        headers,
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new EngineError("unreachable", `The server does not answer (${(error as Error).message}).`);
    }
  }
}

/** What a server refused. */
export class ServerError extends EngineError {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(...meaning(status, code, message));
  }
}

function meaning(status: number, code: string, message: string): [EngineError["reason"], string] {
  if (status === 401) return ["token", "The server wants its token."];
  if (status === 429) return ["busy", "The server is busy; try again in a moment."];
  if (code === "image" || code === "too_large") return ["photo", `The server does not take this photo: ${message}`];
  return ["other", `The server refused: ${message}`];
}

/** Asks who the server is. Null where this page comes from a host that is none. */
export async function askModel(server: Server): Promise<ServerModel | null> {
  if (import.meta.env.MODE === "static") return null;
  try {
    const response = await server.call("v1/model");
    if (!response.headers.get("Content-Type")?.includes("json")) return null;
    return (await response.json()) as ServerModel;
  } catch (error) {
    if (error instanceof ServerError && error.reason !== "token") return null; // some other host's 404
    throw error;
  }
}

/** A photo that the server has encoded; the photo stays at hand, for a server that has dropped it. */
export class ServerEncoded implements Encoded {
  constructor(
    readonly photo: Source,
    public handle: string,
  ) {}

  get width(): number {
    return this.photo.width;
  }

  get height(): number {
    return this.photo.height;
  }

  close(): void {}
}

export class ServerEngine implements Engine {
  constructor(
    readonly server: Server,
    readonly info: ServerModel,
  ) {}

  async encode(photo: Source, signal?: AbortSignal): Promise<ServerEncoded> {
    return new ServerEncoded(photo, await this.#handle(photo, signal));
  }

  async predict(embedding: Encoded, prompts: Prompts, preview = false): Promise<Answer[]> {
    const { points, box } = prompts;
    const prompt = {
      ...(points.length > 0 && { points: points.map(({ x, y }) => [x, y]), labels: points.map(({ label }) => label) }),
      ...(box && { box }),
    };
    const answer = await this.#ask<PredictAnswer>("v1/predict", embedding, { prompts: [prompt], best: preview });
    return answer.prompts[0]!.map(({ rle, score }) => ({ score, mask: { kind: "rle", rle } }));
  }

  async everything(embedding: Encoded, progress: Progress, signal: AbortSignal): Promise<Found[]> {
    progress(null);
    const { segments } = await this.#ask<EverythingAnswer>("v1/everything", embedding, {}, signal);
    return segments.map(({ rle, area, predicted_iou }) => ({ rle, area, score: predicted_iou }));
  }

  model(): ModelInfo {
    return { kind: "server", name: this.info.variant, place: this.info.device };
  }

  close(): void {}

  // With the photo sent again where the server has dropped it.
  async #ask<T>(path: string, embedding: Encoded, body: object, signal?: AbortSignal): Promise<T> {
    const encoded = embedding as ServerEncoded;
    try {
      return (await (await this.server.call(path, { ...body, embedding: encoded.handle }, signal)).json()) as T;
    } catch (error) {
      if (!(error instanceof ServerError && error.status === 404 && error.code === "embedding")) throw error;
      encoded.handle = await this.#handle(encoded.photo, signal);
      return (await (await this.server.call(path, { ...body, embedding: encoded.handle }, signal)).json()) as T;
    }
  }

  async #handle(photo: Source, signal?: AbortSignal): Promise<string> {
    const image = await base64(await this.#sendable(photo));
    const answer = await (await this.server.call("v1/embeddings", { image }, signal)).json();
    return (answer as { embedding: string }).embedding;
  }

  // Formats that browsers show and the server does not read go as PNG.
  async #sendable({ blob }: Source): Promise<Blob> {
    if (this.info.limits.formats.includes(FORMATS[blob.type] ?? "")) return blob;
    const bitmap = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
    bitmap.close();
    return canvas.convertToBlob({ type: "image/png" });
  }
}

function base64(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve((reader.result as string).replace(/^.*?,/, ""));
    reader.onerror = () => reject(new EngineError("photo", "The photo's file cannot be read."));
    reader.readAsDataURL(blob);
  });
}
