// For tests/page/test_core.py: what page/src/core makes of masks. Standard input is a json text: photos as
// { name, width, height, things: [{ name, colour, mask: [rows of "0" and "1"] }] }. Standard output is one too: RLEs,
// polygons by tolerance, and each format's files in base64.
import { tracePolygons } from "../../page/src/core/contours";
import { type ExportPhoto, FORMATS, outputFiles } from "../../page/src/core/exporting";
import type { Box, Mask } from "../../page/src/core/mask";
import { countRuns, decode, encode } from "../../page/src/core/rle";

interface Given {
  name: string;
  width: number;
  height: number;
  things: { name: string; colour: string; mask: string }[];
}

let text = "";
for await (const part of process.stdin) text += part;
const { photos, tolerances } = JSON.parse(text) as { photos: Given[]; tolerances: number[] };

const given = photos.map(({ name, width, height, things }): ExportPhoto & { masks: Mask[] } => {
  const masks = things.map(({ mask }) => ({ width, height, data: Uint8Array.from(mask, Number) }));
  return {
    name,
    width,
    height,
    masks,
    things: things.map(({ name, colour }, index) => ({ number: index + 1, name, colour, rle: encode(masks[index]!), score: 0.5 })),
    async pixels({ x0, y0, x1, y1 }: Box) {
      const pixels: number[] = [];
      for (let y = y0; y < y1; ++y) for (let x = x0; x < x1; ++x) pixels.push(x % 256, y % 256, (x * y) % 256, 255);
      return Uint8Array.from(pixels);
    },
  };
});

const files: Record<string, Record<string, string>> = {};
for (const format of FORMATS) {
  files[format] = {};
  for await (const { name, content } of outputFiles(given, format)) {
    files[format][name] = Buffer.from(content).toString("base64");
  }
}
const masks = given.flatMap((photo) => photo.masks);
const answer = {
  counts: masks.map((mask) => [...countRuns(mask)]),
  rles: masks.map(encode),
  decoded: masks.map((mask) => Buffer.from(decode(encode(mask)).data).toString("base64")),
  polygons: tolerances.map((tolerance) =>
    masks.map((mask) =>
      tracePolygons(mask, tolerance).map(({ outer, holes }) => [outer, ...holes].map((ring) => [...ring])),
    ),
  ),
  files,
};
process.stdout.write(JSON.stringify(answer));
