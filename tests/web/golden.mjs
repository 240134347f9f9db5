// tests/golden/nano.safetensors in JavaScript: a photo, prompts, what PyTorch makes of them, and how far each precision
// may be from it. For node and browsers; tests/golden/nano.py has the meaning.

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** The arrays of a safetensors file, by name: numbers and shape. */
export function tensors(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start)));
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries(header).map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
      const bytes = dtype === "F16" ? 2 : 4;
      const data = Float32Array.from({ length: (end - begin) / bytes }, (_, i) =>
        bytes === 2
          ? half(view.getUint16(start + begin + 2 * i, true))
          : view.getFloat32(start + begin + 4 * i, true),
      );
      return [name, { data, shape }];
    }),
  );
}

// Every so many channels, rows and columns.
function sampled(data, [channels, height, width], apart, pixels) {
  const samples = [];
  for (let c = 0; c < channels; c += apart) {
    for (let y = 0; y < height; y += pixels) {
      for (let x = 0; x < width; x += pixels) samples.push(data[(c * height + y) * width + x]);
    }
  }
  return samples;
}

// The root mean square of errors over that of the numbers.
function relativeError(found, expected) {
  if (found.length !== expected.length) return Infinity;
  const squares = (values) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(squares(Array.from(expected, (value, i) => found[i] - value)) / squares(expected));
}

/** RGBA of the golden photo. */
export function photo(golden) {
  const { data: rgb, shape } = golden.photo;
  const data = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  rgb.forEach((value, i) => (data[Math.floor(i / 3) * 4 + (i % 3)] = value));
  return { data, height: shape[0], width: shape[1] };
}

/** What a model makes of it, as errors: of the maps and logits relative ones, of the scores the largest. */
export async function errors(sam, golden) {
  const image = photo(golden);
  const embedding = await sam.encode(image);
  const result = { maps: [], logits: 0, scores: 0 };
  for (let i = 0; `map${i}` in golden; ++i) {
    const map = await sam._map(embedding, i);
    const found = sampled(map.data, map.shape, 4 >> Math.min(i, 2), 4 << i);
    result.maps.push(relativeError(found, golden[`map${i}`].data));
  }
  // The first prompt is a box, the second a click and padding, in the frame that is 1024 pixels wide and so high in whole
  // pixels.
  const high = Math.round((image.height * 1024) / image.width);
  const [x0, y0, x1, y1, x, y] = Array.from(golden.points.data, (value, i) =>
    i % 2 === 0 ? (value * image.width) / 1024 : (value * image.height) / high,
  );
  const byBox = await sam.predict(embedding, { box: [x0, y0, x1, y1] });
  const byClick = await sam.predict(embedding, { points: [[x, y]] });
  const planes = [byBox.logits, ...[0, 1, 2].map((i) => byClick.logits.subarray(i * 65536, (i + 1) * 65536))];
  const logits = planes.flatMap((plane) => sampled(plane, [1, 256, 256], 1, 8));
  result.logits = relativeError(logits, golden.logits.data);
  const scores = [...byBox.scores, ...byClick.scores];
  result.scores = Math.max(...scores.map((score, i) => Math.abs(score - golden.scores.data[i])));
  // The whole way to pixels: how far the box's mask is from being that of PyTorch.
  let both = 0;
  let either = 0;
  byBox.best()[0].forEach((on, i) => {
    const expected = golden.mask.data[i] > 0;
    if (on && expected) ++both;
    if (on || expected) ++either;
  });
  result.mask = 1 - both / either;
  embedding.close();
  return result;
}

/** What of it is more than the golden file allows, as text; "" if nothing is. */
export function complaints(found, golden, precision) {
  const [maps, logits, scores] = golden[`tolerances.${precision}`].data;
  const list = found.maps.map((error, i) => [`map ${i}`, error, maps]);
  list.push(["logits", found.logits, logits], ["scores", found.scores, scores], ["mask", found.mask, 0.01]);
  return list
    .filter(([, error, limit]) => !(error <= limit))
    .map(([what, error, limit]) => `${precision}: ${what}: expected at most ${limit}, got ${error}`)
    .join("\n");
}
