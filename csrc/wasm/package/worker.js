// The engine in a worker: calls come as { id, method, values } and are answered one after the other, in their order.
import { Engine, EvsamError } from "./engine.js";

let engine;

const methods = {
  async create(options) {
    engine = await Engine.create(options);
    return { threads: engine.threads, variant: engine.variant };
  },
  encode: (image) => engine.encode(image),
  map: (embedding, index) => engine.map(embedding, index),
  predict: (embedding, prompts) => engine.predict(embedding, prompts),
  free: (embedding) => engine.free(embedding),
};

let last = Promise.resolve();
self.onmessage = ({ data: { id, method, values } }) => {
  last = last.then(async () => {
    try {
      const result = await methods[method](...values);
      const arrays = Object.values(result ?? {}).filter(ArrayBuffer.isView);
      self.postMessage({ id, result }, arrays.map((array) => array.buffer));
    } catch (error) {
      const status = error instanceof EvsamError ? error.status : "internal_error";
      self.postMessage({ id, error: { status, message: error.message } });
    }
  });
};
