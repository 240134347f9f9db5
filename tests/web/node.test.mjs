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
  await refused(sam.predict({}, { points: [[1, 1]] }), "embedding: expected one of this model, got something else");
  embedding.close();
  await prompts({ points: [[1, 1]] }, "embedding: expected one that is open, got a closed one");
  const result = await sam.predict(await sam.encode(image), { box: [80, 35, 215, 165] });
  assert.throws(() => result.mask(1), new EvsamError("invalid_argument", "prompt: expected a whole number below 1, got 1"));
  assert.throws(() => result.mask(0, 1), new EvsamError("invalid_argument", "index: expected a whole number below 1, got 1"));
  sam.close();
  await refused(sam.encode(image), "sam: expected one that is open, got a closed one");
});
