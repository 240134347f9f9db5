// nano in a worker of this tab: nothing leaves the computer.
import type { Prompts } from "../core/annotations";
import type { Answer, Encoded, Engine, Found, ModelInfo, Progress, Source } from "./engine";
import {
  type Embedding,
  fetchWeights,
  loadModel,
  type Prompts as PackagePrompts,
  type Prediction,
  type Sam,
  told,
} from "./package";
import { readPixels } from "./pixels";

/** Loads nano; progress is that of its file. */
export async function makeTabEngine(progress: Progress, signal?: AbortSignal): Promise<Engine> {
  const weights = await fetchWeights(progress, signal);
  progress(null);
  return new TabEngine(await loadModel(weights));
}

class TabEngine implements Engine {
  #sam: Sam;

  constructor(sam: Sam) {
    this.#sam = sam;
  }

  async encode(photo: Source, signal?: AbortSignal): Promise<Encoded> {
    const pixels = await readPixels(photo);
    signal?.throwIfAborted();
    try {
      return await this.#sam.encode(pixels);
    } catch (error) {
      throw told(error);
    }
  }

  async predict(embedding: Encoded, prompts: Prompts, preview = false): Promise<Answer[]> {
    return predictWith(this.#sam, embedding as Embedding, prompts, preview);
  }

  async everything(embedding: Encoded, progress: Progress, signal: AbortSignal): Promise<Found[]> {
    return findWith(this.#sam, embedding as Embedding, progress, signal);
  }

  model(): ModelInfo {
    const { variant, threads } = this.#sam;
    return { kind: "tab", name: variant, place: threads === 1 ? "1 thread" : `${threads} threads` };
  }

  close(): void {
    this.#sam.close();
  }
}

/** A prediction of the package's. */
export async function predictWith(
  sam: Sam,
  embedding: Embedding,
  prompts: Prompts,
  preview: boolean,
): Promise<Answer[]> {
  let prediction: Prediction;
  try {
    prediction = await sam.predict(embedding, { ...packagePrompts(prompts), masks: !preview });
  } catch (error) {
    throw told(error);
  }
  const { width, height } = embedding;
  const { masks, logits, scores, shape } = prediction;
  const answers = Array.from({ length: shape[1] }, (_, i): Answer => {
    const score = scores[i]!;
    if (preview) {
      return { score, mask: { kind: "logits", logits: logits.subarray(i << 16, (i + 1) << 16), width, height } };
    }
    const data = masks.subarray(i * width * height, (i + 1) * width * height);
    return { score, mask: { kind: "mask", mask: { width, height, data } } };
  });
  return preview ? [answers.reduce((best, one) => (one.score > best.score ? one : best))] : answers;
}

/** Everything that the package finds. */
export async function findWith(
  sam: Sam,
  embedding: Embedding,
  progress: Progress,
  signal: AbortSignal,
): Promise<Found[]> {
  const found = await sam.segmentEverything(embedding, { progress: (done, total) => progress(done / total), signal });
  return found.map(({ rle, area, predictedIou }) => ({ rle, area, score: predictedIou }));
}

function packagePrompts({ points, box }: Prompts): PackagePrompts {
  return {
    ...(points.length > 0 && { points: points.map(({ x, y }) => [x, y]), labels: points.map(({ label }) => label) }),
    ...(box && { box }),
  };
}
