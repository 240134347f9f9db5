// Times the npm package in Chromium, and prints them as JSON: node chromium.mjs '{"package": ..., "rounds": ...}'.
// See __main__.py.
import { createRequire } from "node:module";

import { serve } from "../../tests/web/server.mjs";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const settings = JSON.parse(process.argv[2]);
const server = await serve({ "/package": settings.package, "/photo": settings.photo }, { isolated: true });
const browser = await chromium.launch({ executablePath: settings.chromium, args: ["--no-sandbox"] });
const page = await browser.newPage();
await page.goto(server.url);

const results = await page.evaluate(async ({ cases, width, height, box, rounds, warmUp }) => {
  const { load } = await import("/package/index.js");
  const data = new Uint8ClampedArray(await (await fetch("/photo/frame.rgba")).arrayBuffer());
  const image = new ImageData(data, width, height);
  const click = { points: [[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]] };
  const timed = async (call) => {
    const start = performance.now();
    const result = await call();
    return [performance.now() - start, result];
  };
  const models = [];
  for (const options of cases) {
    const [ms, sam] = await timed(() => load(options));
    models.push({ sam, result: { ...options, threads: sam.threads, load: ms, photo: [], click: [] } });
  }
  for (let round = -warmUp; round < rounds; ++round) {
    for (const { sam, result } of models) {
      let embedding;
      const [photo, prediction] = await timed(async () => {
        embedding = await sam.encode(image);
        return sam.predict(embedding, { box });
      });
      const [clicked] = await timed(() => sam.predict(embedding, click));
      embedding.close();
      if (round === -warmUp) result.first = photo;
      if (round >= 0) {
        result.photo.push(photo);
        result.click.push(clicked);
      }
      result.pixels = prediction.mask().reduce((sum, on) => sum + on, 0);
    }
  }
  return models.map(({ result }) => result);
}, settings);
console.log(JSON.stringify({ browser: browser.version(), results }));
await browser.close();
server.close();
