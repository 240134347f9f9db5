// What files say; tests/page/test_core.py has them read by the programs that they are for.
import { decode as decodePng } from "fast-png";
import { strFromU8, unzipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { addThing, newDocument } from "./annotations";
import {
  cocoDocument,
  type ExportPhoto,
  type ExportThing,
  exportPhotos,
  exportThings,
  FORMATS,
  type Format,
  fileName,
  geojsonDocument,
  labelMap,
  outputFiles,
  svgDocument,
} from "./exporting";
import { type Box, emptyMask, paint } from "./mask";
import { encode } from "./rle";

const [WIDTH, HEIGHT] = [12, 9];
const NASTY = `<a & "b">\n'\u0000\uD800é😀`;

/** A thing that is a rectangle. */
function thing(name: string, { x0, y0, x1, y1 }: Box, score: number | null = 0.5): ExportThing {
  const mask = emptyMask(WIDTH, HEIGHT);
  for (let y = y0; y < y1; ++y) mask.data.fill(1, y * WIDTH + x0, y * WIDTH + x1);
  return { number: 0, name, colour: "#123456", rle: encode(mask), score };
}

const BIG = thing("big", { x0: 0, y0: 0, x1: 12, y1: 5 });
const SMALL = thing("small", { x0: 2, y0: 1, x1: 5, y1: 3 }, null);
const DOT = thing("dot", { x0: 11, y0: 8, x1: 12, y1: 9 });

function photo(name: string, ...things: ExportThing[]): ExportPhoto {
  return {
    name,
    width: WIDTH,
    height: HEIGHT,
    things: things.map((thing, index) => ({ ...thing, number: index + 1 })),
    async pixels({ x0, y0, x1, y1 }) {
      const pixels: number[] = [];
      for (let y = y0; y < y1; ++y) for (let x = x0; x < x1; ++x) pixels.push(x, y, 100, 255);
      return Uint8ClampedArray.from(pixels);
    },
  };
}

async function files(photos: ExportPhoto[], format: Format): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name, content } of outputFiles(photos, format)) found[name] = strFromU8(content);
  return found;
}

describe("things that overlap", () => {
  test("in label maps smaller ones lie above, in whichever order they were made", () => {
    for (const things of [
      [BIG, SMALL],
      [SMALL, BIG],
    ]) {
      const labels = labelMap(photo("a.jpg", ...things));
      expect(labels[1 * WIDTH + 2]).toBe(things.indexOf(SMALL) + 1);
      expect(labels[0]).toBe(things.indexOf(BIG) + 1);
      expect(labels[8 * WIDTH]).toBe(0);
    }
  });

  test("in SVG too; numbers stay those of the panel", () => {
    const ids = [...svgDocument(photo("a.jpg", SMALL, BIG)).matchAll(/id="(.*?)"/g)].map(([, id]) => id);
    expect(ids).toEqual(["thing-2", "thing-1"]);
  });

  test("are whole in COCO's json", () => {
    const { annotations } = cocoDocument([photo("a.jpg", BIG, SMALL)]) as { annotations: { area: number }[] };
    expect(annotations.map(({ area }) => area)).toEqual([60, 6]);
  });
});

describe("documents", () => {
  test("COCO's json counts through all photos and joins names", () => {
    const document = cocoDocument([photo("x/a.jpg", DOT, SMALL), photo("b.png"), photo("c.png", DOT)]);
    expect(document).toEqual({
      images: [
        { id: 1, file_name: "x/a.jpg", width: 12, height: 9 },
        { id: 2, file_name: "b.png", width: 12, height: 9 },
        { id: 3, file_name: "c.png", width: 12, height: 9 },
      ],
      annotations: [
        {
          id: 1,
          image_id: 1,
          category_id: 1,
          segmentation: DOT.rle,
          area: 1,
          bbox: [11, 8, 1, 1],
          iscrowd: 0,
          score: 0.5,
        },
        { id: 2, image_id: 1, category_id: 2, segmentation: SMALL.rle, area: 6, bbox: [2, 1, 3, 2], iscrowd: 0 },
        {
          id: 3,
          image_id: 3,
          category_id: 1,
          segmentation: DOT.rle,
          area: 1,
          bbox: [11, 8, 1, 1],
          iscrowd: 0,
          score: 0.5,
        },
      ],
      categories: [
        { id: 1, name: "dot" },
        { id: 2, name: "small" },
      ],
    });
  });

  test("GeoJSON follows the edges of pixels", () => {
    expect(geojsonDocument(photo("a.jpg", DOT))).toEqual({
      type: "FeatureCollection",
      features: [
        {
          type: "Feature",
          id: 1,
          properties: { id: 1, name: "dot", area: 1, score: 0.5 },
          geometry: {
            type: "Polygon",
            coordinates: [
              [
                [11, 8],
                [12, 8],
                [12, 9],
                [11, 9],
                [11, 8],
              ],
            ],
          },
        },
      ],
    });
  });

  test("YOLO: a line of each thing, numbers of classes through all photos", async () => {
    expect(await files([photo("a.jpg", DOT), photo("b.jpg", SMALL, DOT), photo("c.jpg")], "yolo")).toEqual({
      "labels/a.txt": "0 0.9166667 0.8888889 1 0.8888889 1 1 0.9166667 1\n",
      "labels/b.txt":
        "1 0.1666667 0.1111111 0.4166667 0.1111111 0.4166667 0.3333333 0.1666667 0.3333333\n" +
        "0 0.9166667 0.8888889 1 0.8888889 1 1 0.9166667 1\n",
      "labels/c.txt": "",
      "classes.txt": "dot\nsmall\n",
      "data.yaml": 'path: .\ntrain: images\nval: images\nnames:\n  0: "dot"\n  1: "small"\n',
    });
  });

  test("cut-outs are transparent around the thing, and what was there is gone", async () => {
    const ring = emptyMask(WIDTH, HEIGHT);
    paint(ring, { points: [[5, 4]], radius: 3, erase: false });
    paint(ring, { points: [[5, 4]], radius: 1, erase: true });
    const made: Record<string, Uint8Array> = {};
    for await (const { name, content } of outputFiles([photo("a.b.jpg", { ...SMALL, rle: encode(ring) })], "cutout")) {
      made[name] = content;
    }
    const { width, height, channels, data } = decodePng(made["a.b-1-small.png"]!);
    expect([width, height, channels]).toEqual([6, 6, 4]);
    for (let at = 0; at < 36; ++at) {
      const [x, y] = [2 + (at % 6), 1 + Math.floor(at / 6)];
      const expected = ring.data[y * WIDTH + x] === 1 ? [x, y, 100, 255] : [0, 0, 0, 0];
      expect([...data.slice(4 * at, 4 * at + 4)]).toEqual(expected);
    }
  });

  test("label maps of more than 255 things have 16 bits", async () => {
    const many = Array.from({ length: 300 }, (_, index) => ({ ...DOT, name: `${index}` }));
    for (const [things, depth, value] of [
      [many.slice(0, 255), 8, 255],
      [many, 16, 300],
    ] as const) {
      for await (const { content } of outputFiles([photo("a.jpg", ...things)], "labels")) {
        const picture = decodePng(content);
        expect([picture.depth, picture.channels, picture.data.at(-1), picture.data[0]]).toEqual([depth, 1, value, 0]);
      }
    }
  });
});

describe("names", () => {
  test("that need escaping are what they were behind it", async () => {
    const nasty = photo("a.jpg", { ...DOT, name: NASTY });
    expect(svgDocument(nasty)).toContain(`<title>&lt;a &amp; "b"&gt; ' \uD800é😀</title>`);
    for (const format of ["coco", "geojson"] as const) {
      const [content] = Object.values(await files([nasty], format));
      expect(content).toContain(JSON.stringify(NASTY));
    }
    const yolo = await files([nasty], "yolo");
    expect(yolo["classes.txt"]).toBe(`<a & "b"> ' \uFFFDé😀\n`);
    expect(Object.keys(await files([nasty], "cutout"))).toEqual(["a-1-_a & _b__ ' \uD800é😀.png"]);
  });

  test.each([
    ["../../etc/passwd", "_.._etc_passwd"],
    ["con", "_con"],
    ["Com1.txt", "_Com1.txt"],
    ["console", "console"],
    ["", "_"],
    [" ... ", "_"],
    ["a:b*c?", "a_b_c_"],
    ["x".repeat(300), "x".repeat(100)],
  ])("as names of files: %s", (name, expected) => {
    expect(fileName(name)).toBe(expected);
  });

  test("of photos that differ in endings, letters' case or folders alone", async () => {
    const photos = ["a.jpg", "a.png", "A.webp", "x/a.jpg", ".hidden", "../a.jpg"].map((name) => photo(name, DOT));
    expect(Object.keys(await files(photos, "svg"))).toEqual([
      "a.svg",
      "a-2.svg",
      "A-3.svg",
      "x/a.svg",
      "hidden.svg",
      "_/a.svg",
    ]);
  });
});

describe("what is downloaded", () => {
  test("is one file where there is one, else a zip", async () => {
    const one = await exportPhotos([photo("x/a.jpg", DOT)], "svg");
    expect([one.name, one.blob.type]).toEqual(["a.svg", "image/svg+xml"]);
    expect(await one.blob.text()).toContain("<svg");
    const told: number[] = [];
    const several = await exportPhotos([photo("x/a.jpg", DOT), photo("b.jpg")], "svg", (done) => told.push(done));
    expect([several.name, several.blob.type]).toEqual(["annotations-svg.zip", "application/zip"]);
    const unzipped = unzipSync(new Uint8Array(await several.blob.arrayBuffer()));
    expect(Object.keys(unzipped)).toEqual(["x/a.svg", "b.svg"]);
    expect(strFromU8(unzipped["x/a.svg"]!)).toBe(await one.blob.text());
    expect(told).toEqual([1, 2]);
    expect((await exportPhotos([photo("x/a.jpg", DOT, BIG)], "cutout")).name).toBe("a-cutout.zip");
    expect((await exportPhotos([photo("x/a.jpg", DOT)], "yolo")).name).toBe("a-yolo.zip");
    expect((await exportPhotos([photo("a.jpg"), photo("b.jpg")], "coco")).name).toBe("annotations-coco.json");
  });

  test.each(FORMATS)("%s of a photo without things", async (format) => {
    const made = exportPhotos([photo("a.jpg")], format);
    if (format === "cutout") await expect(made).rejects.toThrow("things: expected one at least, got none");
    else expect((await made).blob.size).toBeGreaterThan(0);
  });

  test("has no things whose masks are empty, and no scores of what the brush changed", () => {
    let document = addThing(newDocument(WIDTH, HEIGHT), { name: "nothing" });
    document = addThing(document, { name: "kept", hidden: true, candidates: [{ rle: DOT.rle, score: 0.25 }] });
    const stroke = { points: [[3, 3]], radius: 1, erase: false } as const;
    document = addThing(document, { name: "painted", candidates: [{ rle: DOT.rle, score: 0.25 }], strokes: [stroke] });
    expect(exportThings(document).map(({ number, name, score }) => [number, name, score])).toEqual([
      [2, "kept", 0.25],
      [3, "painted", null],
    ]);
  });
});
