// The server encodes, and its model's decoder runs in the page as well: whichever answers sooner. Both are timed on the
// first previews; the decoder is only asked where its masks are the server's.
import type { Prompts } from "../core/annotations";
import { decode } from "../core/rle";
import type { Answer, Encoded, Engine, Found, ModelInfo, Progress, Source } from "./engine";
import { type Embedding, loadModel, readAll, type Sam } from "./package";
import { type Server, type ServerEncoded, ServerEngine, type ServerModel } from "./server";
import { predictWith } from "./tab";

/** Timed calls of each, after one that is not: it also takes memory. */
const ROUNDS = 3;

/** IoU that the decoder's mask must have with the server's: the embedding is rounded to float16 on its way. */
const SAME = 0.97;

class MixedEncoded implements Encoded {
  /** What the page's decoder reads, once it is here. */
  here: Embedding | null = null;
  closed = false;

  constructor(readonly there: ServerEncoded) {}

  get width(): number {
    return this.there.width;
  }

  get height(): number {
    return this.there.height;
  }

  close(): void {
    this.closed = true;
    this.here?.close();
    this.there.close();
  }
}

export class MixedEngine implements Engine {
  #server: ServerEngine;
  #decoder: Promise<Sam> | null = null;
  #times: { here: number[]; there: number[] } = { here: [], there: [] };
  /** Who answers; null while that is being found out. */
  #sooner: "here" | "there" | null = null;

  constructor(server: Server, info: ServerModel) {
    this.#server = new ServerEngine(server, info);
    if (!info.decoder) this.#sooner = "there";
  }

  /** Who answers predictions: null while both are timed. */
  get answers(): "here" | "there" | null {
    return this.#sooner;
  }

  async encode(photo: Source, signal?: AbortSignal): Promise<Encoded> {
    const encoded = new MixedEncoded(await this.#server.encode(photo, signal));
    if (this.#sooner !== "there") {
      // Nobody waits for that: until it is here the server answers.
      this.#fetch(encoded).catch(() => {
        this.#sooner = "there";
      });
    }
    return encoded;
  }

  async predict(embedding: Encoded, prompts: Prompts, preview = false): Promise<Answer[]> {
    const { there, here } = embedding as MixedEncoded;
    const decoder = here && (await this.#decoder);
    if (!here || !decoder || this.#sooner === "there") return this.#server.predict(there, prompts, preview);
    if (this.#sooner === "here") return predictWith(decoder, here, prompts, preview);
    if (!preview) return this.#server.predict(there, prompts);
    return this.#compare(decoder, here, there, prompts);
  }

  everything(embedding: Encoded, progress: Progress, signal: AbortSignal): Promise<Found[]> {
    return this.#server.everything((embedding as MixedEncoded).there, progress, signal);
  }

  model(): ModelInfo {
    return this.#server.model();
  }

  close(): void {
    this.#decoder?.then((sam) => sam.close()).catch(() => {});
    this.#server.close();
  }

  async #fetch(encoded: MixedEncoded): Promise<void> {
    const { server } = this.#server;
    this.#decoder ??= server.call("v1/model/decoder").then(async (response) => {
      return loadModel(await readAll(response, () => {}), { precision: "fp32" });
    });
    const maps = server.call(`v1/embeddings/${encoded.there.handle}`).then((response) => response.arrayBuffer());
    const [decoder, content] = await Promise.all([this.#decoder, maps]);
    if (encoded.closed) return;
    const here = await decoder.readEmbedding(content);
    if (here.fingerprint !== this.#server.info.fingerprint) throw new Error("an embedding of another model");
    if (encoded.closed) here.close();
    else encoded.here = here;
  }

  // One after the other, so that neither has the other's processor.
  async #compare(decoder: Sam, here: Embedding, there: ServerEncoded, prompts: Prompts): Promise<Answer[]> {
    const [ours, mine] = await timed(() => predictWith(decoder, here, prompts, false));
    const [theirs, its] = await timed(() => this.#server.predict(there, prompts, true));
    this.#times.here.push(ours);
    this.#times.there.push(theirs);
    const score = Math.max(...mine.map((one) => one.score));
    if (!same(mine.find((one) => one.score === score)!, its[0]!)) this.#sooner = "there";
    if (this.#sooner === null && this.#times.here.length > ROUNDS) {
      const typical = (times: number[]): number => [...times.slice(1)].sort((a, b) => a - b)[ROUNDS >> 1]!;
      this.#sooner = typical(this.#times.here) < typical(this.#times.there) ? "here" : "there";
    }
    return its;
  }
}

async function timed<T>(call: () => Promise<T>): Promise<[number, T]> {
  const begin = performance.now();
  const result = await call();
  return [performance.now() - begin, result];
}

function same(here: Answer, there: Answer): boolean {
  if (here.mask.kind !== "mask" || there.mask.kind !== "rle") return false;
  const one = here.mask.mask.data;
  const other = decode(there.mask.rle).data;
  let both = 0;
  let either = 0;
  for (let i = 0; i < one.length; ++i) {
    both += one[i]! & other[i]!;
    either += one[i]! | other[i]!;
  }
  return either === 0 || both / either >= SAME;
}
