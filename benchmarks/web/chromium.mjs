// Times the npm package in Chromium, and prints them as JSON: node chromium.mjs '{"package": ..., "rounds": ...}'.
// See __main__.py.
import { createRequire } from "node:module";

import { serve } from "../../tests/web/server.mjs";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const settings = JSON.parse(process.argv[2]);
const { package: folder, photo, page: built, weights } = settings;
const folders = { "/package": folder, "/photo": photo, "/page/nano.safetensors": weights, "/page": built };
const server = await serve(folders, { isolated: true });
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
    models.push({ sam, result: { ...options, threads: sam.threads, load: ms, photo: [], click: [], hover: [] } });
  }
  for (let round = -warmUp; round < rounds; ++round) {
    for (const { sam, result } of models) {
      let embedding;
      const [photo, prediction] = await timed(async () => {
        embedding = await sam.encode(image);
        return sam.predict(embedding, { box });
      });
      const [clicked] = await timed(() => sam.predict(embedding, click));
      const [hovered] = await timed(() => sam.predict(embedding, { ...click, masks: false }));
      embedding.close();
      if (round === -warmUp) result.first = photo;
      if (round >= 0) {
        result.photo.push(photo);
        result.click.push(clicked);
        result.hover.push(hovered);
      }
      result.pixels = prediction.mask().reduce((sum, on) => sum + on, 0);
    }
  }
  return models.map(({ result }) => result);
}, settings);
await page.close();

// The page as people use it, with as many threads as there are: what it tells the browser's tools itself.
async function ofPage({ photo, rounds }) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(`${server.url}/page/index.html`);
  const said = (text) => {
    // Every so many ms: what Playwright does by default, at each frame, makes the browser draw frames.
    const there = (part) => document.querySelector("#said").textContent.includes(part);
    return page.waitForFunction(there, text, { polling: 25 });
  };
  await page.locator("#pick-photos").setInputFiles(`${photo}/frame.png`);
  await said("ready: point");
  const { x, y, width, height } = await page.locator("canvas[role=application]").boundingBox();
  const times = async (name) => {
    return page.evaluate((each) => performance.getEntriesByName(each).map(({ duration }) => duration), name);
  };
  // Everywhere once, and as fast as Chromium takes the pointer's movements.
  const at = (part) => [x + width * (0.3 + 0.4 * part), y + height * (0.4 + 0.2 * Math.sin(9 * part))];
  for (let i = 0; i < 20; ++i) await page.mouse.move(...at(i / 20));
  await page.evaluate(() => performance.clearMeasures());
  const begin = Date.now();
  const moves = 20 * rounds;
  for (let i = 0; i < moves; ++i) await page.mouse.move(...at(i / moves));
  const seconds = (Date.now() - begin) / 1000;
  const hover = await times("preview");
  for (let i = 0; i < rounds; ++i) {
    await page.mouse.click(...at(i / rounds), { delay: 60 }); // as long as a finger takes
    await said("Mask ready");
    await page.keyboard.press("Escape");
    await said("done");
  }
  const click = await times("click");
  await page.close();
  return { hover, click, moves, seconds };
}

const ofThePage = await ofPage(settings);
console.log(JSON.stringify({ browser: browser.version(), results, page: ofThePage }));
await browser.close();
server.close();
