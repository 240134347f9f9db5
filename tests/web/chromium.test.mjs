// The npm package in Chromium, in a worker: golden numbers with one thread and with several, files as images, and that
// nothing but the package is asked for. EVSAM_PACKAGE: its folder; EVSAM_CHROMIUM: the browser.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { serve } from "./server.mjs";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const folder = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const folders = { "/package": process.env.EVSAM_PACKAGE, "/web": folder("."), "/golden": folder("../golden") };
let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.EVSAM_CHROMIUM, args: ["--no-sandbox"] });
});
after(() => browser?.close());

// Runs f(value) in a page of an own origin.
async function inPage(isolated, f, value) {
  const server = await serve(folders, { isolated });
  const page = await browser.newPage();
  const requests = [];
  const errors = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(error));
  try {
    await page.goto(server.url);
    const result = await page.evaluate(f, value);
    assert.deepEqual(errors, []);
    const foreign = requests.filter((url) => !url.startsWith(server.url) && !url.startsWith("blob:"));
    assert.deepEqual(foreign, []);
    return result;
  } finally {
    await page.close();
    server.close();
  }
}

async function golden({ options, precision }) {
  const { load } = await import("/package/index.js");
  const { complaints, errors, tensors } = await import("/web/golden.mjs");
  const file = new Uint8Array(await (await fetch("/golden/nano.safetensors")).arrayBuffer());
  const sam = await load(options);
  const numbers = tensors(file);
  const found = await errors(sam, numbers);
  const result = { threads: sam.threads, complaints: complaints(found, numbers, precision), found };
  sam.close();
  return result;
}

test("golden numbers in a page that is not isolated: one thread", async () => {
  for (const precision of ["fp32", "int8"]) {
    const result = await inPage(false, golden, { options: { precision }, precision });
    assert.equal(result.complaints, "");
    assert.equal(result.threads, 1);
  }
});

test("golden numbers in an isolated page: threads, and the same bits as with one", async () => {
  for (const precision of ["fp32", "int8"]) {
    const several = await inPage(true, golden, { options: { precision, threads: 2 }, precision });
    const one = await inPage(true, golden, { options: { precision, threads: 1 }, precision });
    assert.equal(several.complaints, "");
    assert.deepEqual([several.threads, one.threads], [2, 1]);
    assert.deepEqual(several.found, one.found);
  }
});

test("images that are files or canvases, errors and calls in any number", async () => {
  const result = await inPage(false, async () => {
    const { EvsamError, load } = await import("/package/index.js");
    const sam = await load({ precision: "fp32" });
    const canvas = new OffscreenCanvas(320, 240);
    const context = canvas.getContext("2d");
    context.fillStyle = "green";
    context.fillRect(0, 0, 320, 240);
    context.fillStyle = "red";
    context.fillRect(100, 60, 80, 90);
    const images = [context.getImageData(0, 0, 320, 240), canvas, await canvas.convertToBlob()];
    const embeddings = await Promise.all(images.map((image) => sam.encode(image)));
    const predictions = await Promise.all(embeddings.map((each) => sam.predict(each, { points: [[140, 105]] })));
    const areas = predictions.map((each) => each.mask().reduce((sum, on) => sum + on, 0));
    const error = await sam.predict(embeddings[0], { points: [[1000, 5]] }).catch((reason) => reason);
    const waiting = sam.predict(embeddings[0], { points: [[5, 5]] }).catch((reason) => reason);
    sam.close();
    const closed = await waiting;
    return {
      areas,
      refused: error instanceof EvsamError && error.message,
      closed: closed instanceof EvsamError && closed.message,
    };
  });
  assert.deepEqual(result.areas, Array(3).fill(result.areas[0]));
  assert.ok(Math.abs(result.areas[0] / (80 * 90) - 1) < 0.1, `${result.areas}`);
  assert.match(result.refused, /^points.*: expected /);
  assert.equal(result.closed, "worker: expected one that answers, got a closed one");
});

test("everything: progress comes while the worker is busy, and an end ends it", async () => {
  const result = await inPage(true, async () => {
    const { load } = await import("/package/index.js");
    const sam = await load({ warmUp: false });
    const data = new Uint8ClampedArray(4 * 120 * 90).map((_, i) => (i >> 5) * 37);
    const embedding = await sam.encode(new ImageData(data, 120, 90));
    const options = { pointsPerSide: 4, pointsPerBatch: 4, predIouThresh: -1, stabilityScoreThresh: -1 };
    const seen = [];
    const found = await sam.segmentEverything(embedding, { ...options, progress: (...at) => seen.push(at) });
    const controller = new AbortController();
    const calls = [];
    const progress = (done) => {
      calls.push(done);
      controller.abort();
    };
    const many = { ...options, pointsPerSide: 64, progress, signal: controller.signal };
    const stopped = await sam.segmentEverything(embedding, many).catch((error) => error.name);
    await sam.predict(embedding, { points: [[60, 40]] }); // behind 4096 clicks, had they not been given up
    sam.close();
    return { seen, found: found.length, stopped, calls: calls.length, size: found[0].rle.size };
  });
  assert.deepEqual(result.seen.at(-1), [16, 16]);
  assert.ok(result.seen.length >= 4 && result.found > 0);
  assert.deepEqual(result.size, [90, 120]);
  assert.equal(result.stopped, "AbortError");
  assert.equal(result.calls, 1);
});
