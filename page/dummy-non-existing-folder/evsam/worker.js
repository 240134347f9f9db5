// The engine in a worker: calls come as { id, method, values } and are answered one after the other, in their order.
import { Engine, EvsamError } from "./engine.js";

let engine;

const methods = {
  async create(options) {
    engine = await Engine.create(options);
    return { threads: engine.threads, variant: engine.variant, encodes: engine.encodes };
  },
  encode: (image) => engine.encode(image),
  map: (embedding, index) => engine.map(embedding, index),
  fill: (embedding) => engine.fill(embedding),
  predict: (embedding, prompts) => engine.predict(embedding, prompts),
  everything: (embedding, options, stop, id) =>
    engine.everything(embedding, options, (done, total) => {
      self.postMessage({ id, progress: [done, total] }); // sent at once, although this thread is busy
      return stop === undefined || Atomics.load(stop, 0) === 0;
    }),
  free: (embedding) => engine.free(embedding),
};

let last = Promise.resolve();
self.onmessage = ({ data: { id, method, values } }) => {
  last = last.then(async () => {
    try {
      const result = await methods[method](...values, id);
      const arrays = Object.values(result ?? {}).filter(ArrayBuffer.isView);
      self.postMessage({ id, result }, arrays.map((array) => array.buffer));
    } catch (error) {
      const status = error instanceof EvsamError ? error.status : "internal_error";
      self.postMessage({ id, error: { status, message: error.message } });
    }
  });
};
