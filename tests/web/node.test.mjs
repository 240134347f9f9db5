// The npm package in node: golden numbers, calls and their messages. EVSAM_PACKAGE: its folder.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { complaints, errors, photo, tensors } from "./golden.mjs";

const { EvsamError, load } = await import(pathToFileURL(`${process.env.EVSAM_PACKAGE}/index.js`));
const golden = tensors(readFileSync(new URL("../golden/nano.safetensors", import.meta.url)));
const image = photo(golden);

test("golden numbers in fp32 and int8, which is fast", async () => {
  const found = {};
  for (const precision of ["fp32", "int8", "fast"]) {
    const sam = await load({ precision, warmUp: false });
    assert.equal(sam.variant, "nano");
    assert.equal(sam.threads, 1);
    found[precision] = await errors(sam, golden);
    assert.equal(complaints(found[precision], golden, precision === "fp32" ? "fp32" : "int8"), "");
    sam.close();
  }
  assert.deepEqual(found.fast, found.int8);
  assert.notDeepEqual(found.fp32, found.int8);
});

test("predictions: shapes, several prompts, a mask of an earlier one", async () => {
  const sam = await load({ precision: "fp32", warmUp: false });
  const embedding = await sam.encode(image);
  assert.deepEqual([embedding.width, embedding.height], [300, 200]);

  const click = await sam.predict(embedding, { points: [[150, 100]] });
  assert.deepEqual(click.shape, [1, 3, 200, 300]);
  assert.equal(click.masks.length, 3 * 200 * 300);
  assert.equal(click.logits.length, 3 * 65536);
  const best = click.scores.indexOf(Math.max(...click.scores));
  assert.deepEqual(click.mask(), click.mask(0, best));
  assert.deepEqual(click.best(), [click.mask(0, best)]);
  assert.deepEqual((await sam.predict(embedding, { points: [[150, 100]], multimask: false })).shape, [1, 1, 200, 300]);

  // Prompts do not change one another, and padding changes nothing.
  const both = await sam.predict(embedding, {
    points: [[[150, 100]], [[150, 100], [5, 5]]],
    labels: [[1], [1, 0]],
    multimask: true,
  });
  const second = await sam.predict(embedding, { points: [[150, 100], [5, 5]], labels: [1, 0], multimask: true });
  assert.deepEqual(both.shape, [2, 3, 200, 300]);
  assert.deepEqual(both.logits.subarray(0, 3 * 65536), click.logits);
  assert.deepEqual(both.logits.subarray(3 * 65536), second.logits);
  assert.notDeepEqual(second.logits, click.logits);

  const boxes = [Float32Array.of(80, 35, 215, 165), [5, 5, 60, 60]];
  assert.deepEqual((await sam.predict(embedding, { boxes })).shape, [2, 1, 200, 300]);
  const mask = click.logits.subarray(best * 65536, (best + 1) * 65536);
  const refined = await sam.predict(embedding, { points: [[150, 100]], mask });
  assert.deepEqual(refined.shape, [1, 1, 200, 300]);
  assert.ok(refined.scores[0] > 0.5);
  sam.close();
});

test("one image after another, large ones too, and weights that are given", async () => {
  const weights = readFileSync(`${process.env.EVSAM_PACKAGE}/nano.safetensors`);
  const sam = await load({ precision: "fp32", warmUp: false, weights });
  const data = new Uint8Array(4 * 4000 * 3000).map((_, i) => i >> 12);
  const [large, small] = [await sam.encode({ data, width: 4000, height: 3000 }), await sam.encode(image)];
  assert.deepEqual((await sam.predict(large, { box: [10, 10, 3000, 2000] })).shape, [1, 1, 3000, 4000]);
  const { scores } = await sam.predict(small, { box: [80, 35, 215, 165] });
  large.close();
  const again = await sam.encode(image);
  assert.deepEqual((await sam.predict(again, { box: [80, 35, 215, 165] })).scores, scores);
  sam.close();
});

test("everything: records, progress, and an end before the end", async () => {
  const sam = await load({ warmUp: false });
  const embedding = await sam.encode(image);
  const seen = [];
  const options = { pointsPerSide: 8, pointsPerBatch: 16, predIouThresh: -1, stabilityScoreThresh: 0.5 };
  const found = await sam.segmentEverything(embedding, { ...options, progress: (...at) => seen.push(at) });
  assert.deepEqual(seen.at(-1), [64, 64]);
  assert.ok(seen.length >= 4 && found.length > 1, `${seen.length}, ${found.length}`);
  for (const [i, { rle, box, area, predictedIou, stabilityScore, point }] of found.entries()) {
    assert.deepEqual(rle.size, [200, 300]);
    assert.ok(rle.counts.length > 0 && area > 0 && area <= (box[2] - box[0]) * (box[3] - box[1]));
    assert.ok(box[0] >= 0 && box[1] >= 0 && box[2] <= 300 && box[3] <= 200, `${box}`);
    assert.ok(stabilityScore >= 0.5 && stabilityScore <= 1 && point[0] < 300 && point[1] < 200);
    if (i > 0) assert.ok(predictedIou <= found[i - 1].predictedIou);
  }
  assert.deepEqual(await sam.segmentEverything(embedding, options), found);

  const controller = new AbortController();
  const calls = [];
  const progress = (done) => {
    calls.push(done);
    controller.abort(new Error("enough"));
  };
  const stopped = await sam
    .segmentEverything(embedding, { ...options, progress, signal: controller.signal })
    .catch((error) => error);
  assert.equal(stopped.message, "enough");
  assert.equal(calls.length, 1);
  sam.close();
});

// A safetensors file of tensors as bytes.
function file(tensors, metadata) {
  let at = 0;
  const header = { __metadata__: metadata };
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setUint32(0, text.length, true);
  const bytes = ({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Uint8Array(Buffer.concat([length, text, ...Object.values(tensors).map(bytes)]));
}

test("an embedding from elsewhere, read by the decoder alone", async () => {
  const whole = readFileSync(`${process.env.EVSAM_PACKAGE}/nano.safetensors`);
  const start = 8 + Number(whole.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(whole.subarray(8, start));
  const kept = Object.entries(entries).filter(([name]) => !name.startsWith("image_encoder."));
  const part = kept.map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
    return [name, { dtype, shape, data: whole.subarray(start + begin, start + end) }];
  });
  const decoder = await load({ precision: "fp32", weights: file(Object.fromEntries(part), metadata) });
  const sam = await load({ precision: "fp32", warmUp: false });
  assert.deepEqual([sam.encodes, decoder.encodes, decoder.variant], [true, false, "nano"]);
  const refused = await decoder.encode(image).catch((error) => error);
  assert.equal(refused.status, "unavailable");
  assert.equal(refused.message, "model: expected one that encodes, got the weights of a decoder alone");

  const embedding = await sam.encode(image);
  const prompts = { points: [[150, 100]] };
  const expected = await sam.predict(embedding, prompts);
  const maps = {};
  for (let i = 0; i < 4; ++i) {
    const { data, shape } = await sam._map(embedding, i);
    maps[i === 0 ? "features" : `lateral.${i - 1}`] = { dtype: "F32", shape, data };
  }
  const about = { variant: "nano", fingerprint: "0123456789abcdef", original_size: "[200, 300]" };
  const read = await decoder.readEmbedding(file(maps, about));
  assert.deepEqual([read.width, read.height, read.fingerprint], [300, 200, "0123456789abcdef"]);
  const found = await decoder.predict(read, prompts);
  assert.deepEqual(found.logits, expected.logits);
  assert.deepEqual(found.masks, expected.masks);
  const logits = await decoder.predict(read, { ...prompts, masks: false });
  assert.deepEqual([logits.masks, logits.logits], [undefined, found.logits]);

  // In float16, which is what servers send: values are cut to it here.
  const half = (value) => {
    const view = new DataView(new ArrayBuffer(4));
    view.setFloat32(0, value);
    const bits = view.getUint32(0);
    const exponent = ((bits >> 23) & 255) - 112;
    return ((bits >> 16) & 0x8000) | (exponent <= 0 ? 0 : (exponent << 10) | ((bits >> 13) & 1023));
  };
  const halves = Object.entries(maps).map(([name, { shape, data }]) => {
    return [name, { dtype: "F16", shape, data: Uint16Array.from(data, half) }];
  });
  const close = await decoder.predict(await decoder.readEmbedding(file(Object.fromEntries(halves), about)), prompts);
  const differing = close.mask().reduce((sum, on, i) => sum + (on ^ expected.mask()[i]), 0);
  assert.ok(differing > 0 || close.scores[0] !== expected.scores[0]);
  assert.ok(differing / expected.mask().length < 0.01, `${differing}`);

  const bad = async (content, message) => {
    const error = await decoder.readEmbedding(content).catch((reason) => reason);
    assert.ok(error instanceof EvsamError && error.status === "invalid_argument", error.stack);
    assert.equal(error.message, message);
  };
  await bad("text", "content: expected a Uint8Array or an ArrayBuffer, got text");
  await bad(new Uint8Array(3), "content: expected the file of an embedding, got 3 bytes");
  await bad(new Uint8Array(50), "content: expected the file of an embedding, got other bytes");
  await bad(whole, "content: expected the file of an embedding, got none of an image's size");
  await bad(file(maps, { ...about, variant: "l0" }), "content: expected an embedding of nano, got one of l0");
  const { features, ...rest } = maps;
  await bad(file(rest, about), "count: expected 4 maps, got 3");
  await bad(file({ features }, about), "count: expected 4 maps, got 1");
  await bad(file(maps, about).subarray(0, 400000), "content: expected the file of an embedding, got a part of features");
  const short = { ...features, data: features.data.subarray(1) };
  await bad(file({ ...maps, features: short }, about), "maps[0]: expected 131072 values, got 131071");
  decoder.close();
  sam.close();
});

test("what cannot be meant is refused, and says what was expected", async () => {
  const refused = async (promise, message, status = "invalid_argument") => {
    const error = await promise.then(() => assert.fail(`expected: ${message}`), (reason) => reason);
    assert.ok(error instanceof EvsamError, error.stack);
    assert.equal(error.message, message);
    assert.equal(error.status, status);
  };
  await refused(load({ precision: "int4" }), "precision: expected one of fp32, int8, bf16, fp16, fast, got int4");
  await refused(load({ threads: -1 }), "threads: expected a whole number of 0 or more, got -1");
  await refused(
    load({ weights: new TextEncoder().encode("this is no model at all") }),
    "content: expected a safetensors header that begins with '{', got another one",
    "bad_weights",
  );
  const sam = await load({ warmUp: false });
  const embedding = await sam.encode(image);
  await refused(sam.encode({ data: image.data, width: 10, height: 10 }), "image.data: expected 4 * 10 * 10 bytes, got 240000");
  await refused(sam.encode({ data: new Uint8Array(0), width: 0, height: 5 }), "image.width: expected 1 to 16777216 pixels, got 0");
  await refused(sam.encode("photo.png"), "image: expected ImageData, a Blob, or what a canvas can draw, got photo.png");
  const prompts = (given, message) => refused(sam.predict(embedding, given), message);
  await prompts({}, "prompts: expected points, a box or a mask, got none");
  await prompts({ points: [1, 2] }, "points: expected [[x, y], ...], or a list of these, got a depth of 1");
  await prompts({ points: [[1, 2, 3]] }, "points: expected x, y of each, got 3 numbers");
  await prompts({ points: [[1, 2]], labels: [1, 0] }, "labels: expected one for each point (1), got 2");
  await prompts({ labels: [1] }, "labels: expected points they belong to, got labels alone");
  await prompts({ box: [1, 2, 3] }, "box: expected x0, y0, x1, y1, got 3 numbers");
  await prompts({ box: [1, 2, 3, 4], boxes: [[1, 2, 3, 4]] }, "boxes: expected box or boxes, got both");
  await prompts({ points: [[1, 2]], boxes: [[1, 2, 3, 4], [1, 2, 3, 4]] }, 'prompts: expected as many of one kind as of another, got {"points":1,"boxes":2}');
  await prompts({ mask: new Float32Array(5) }, "mask: expected a Float32Array of 256 x 256 logits for each prompt, got Float32Array of 5");
  const outside = await sam.predict(embedding, { points: [[300, 5]] }).catch((error) => error);
  assert.match(outside.message, /^points.*: expected /);
  const everything = (options, message) => refused(sam.segmentEverything(embedding, options), message);
  await everything({ mode: "slow" }, "mode: expected one of fast, exact, got slow");
  await everything({ pointsPerSide: 2.5 }, "pointsPerSide: expected a whole number, got 2.5");
  await everything({ boxNmsThresh: "much" }, "boxNmsThresh: expected a number, got much");
  await everything(
    { cropNLayers: 1 },
    "options: expected some of mode, pointsPerSide, pointsPerBatch, predIouThresh, stabilityScoreThresh, " +
      "stabilityScoreOffset, boxNmsThresh, minMaskRegionArea, got cropNLayers",
  );
  await refused(sam.predict({}, { points: [[1, 1]] }), "embedding: expected one of this model, got something else");
  embedding.close();
  await prompts({ points: [[1, 1]] }, "embedding: expected one that is open, got a closed one");
  const result = await sam.predict(await sam.encode(image), { box: [80, 35, 215, 165] });
  assert.throws(() => result.mask(1), new EvsamError("invalid_argument", "prompt: expected a whole number below 1, got 1"));
  assert.throws(() => result.mask(0, 1), new EvsamError("invalid_argument", "index: expected a whole number below 1, got 1"));
  sam.close();
  await refused(sam.encode(image), "sam: expected one that is open, got a closed one");
});
