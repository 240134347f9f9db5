// PNG files with exact values: a canvas knows neither one channel nor 16 bits, and changes colours that are transparent.
// The browser's own compression does the work, several times as fast as in JavaScript, and a photo never lies in memory
// a second time.

export interface Raster {
  readonly width: number;
  readonly height: number;
  /** Grey, or R, G, B, A. */
  readonly channels: 1 | 4;
  /** Row by row; of 8 or of 16 bits. */
  readonly data: Uint8Array | Uint16Array;
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const COLOUR_TYPE = { 1: 0, 4: 6 };
const PORTION = 1 << 20; // bytes that are handed over at a time

/** The bytes of a PNG file. Width and height are 1 or more. */
export async function encodePng(raster: Raster): Promise<Uint8Array<ArrayBuffer>> {
  const depth = raster.data instanceof Uint16Array ? 16 : 8;
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, raster.width);
  header.setUint32(4, raster.height);
  header.setUint8(8, depth);
  header.setUint8(9, COLOUR_TYPE[raster.channels]);
  const packed = rows(raster).pipeThrough(new CompressionStream("deflate")); // zlib's format, as PNG wants it
  const parts: Uint8Array<ArrayBuffer>[] = [SIGNATURE, chunk("IHDR", new Uint8Array(header.buffer))];
  const reader = packed.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    parts.push(chunk("IDAT", next.value as Uint8Array<ArrayBuffer>));
  }
  parts.push(chunk("IEND", new Uint8Array()));
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Each row behind a byte that says that it is not filtered; numbers of 16 bits with their high byte first. */
function rows({ width, height, channels, data }: Raster): ReadableStream<Uint8Array<ArrayBuffer>> {
  const values = width * channels;
  const bytes = values * data.BYTES_PER_ELEMENT;
  const each = Math.max(1, Math.floor(PORTION / (bytes + 1)));
  let y = 0;
  return new ReadableStream({
    pull(controller) {
      const count = Math.min(each, height - y);
      const portion = new Uint8Array(count * (bytes + 1));
      const view = new DataView(portion.buffer);
      for (let row = 0; row < count; ++row, ++y) {
        const at = row * (bytes + 1) + 1;
        const from = data.subarray(y * values, (y + 1) * values);
        if (from instanceof Uint8Array) portion.set(from, at);
        else for (let x = 0; x < values; ++x) view.setUint16(at + 2 * x, from[x]!);
      }
      controller.enqueue(portion);
      if (y === height) controller.close();
    },
  });
}

function chunk(type: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; ++i) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, checksum(bytes.subarray(4, content.length + 8)));
  return bytes;
}

/** CRC-32 of ISO 3309, as PNG's specification defines it. */
function checksum(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (let at = 0; at < bytes.length; ++at) sum = TABLE[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8);
  return ~sum >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; ++bit) sum = sum & 1 ? 0xedb88320 ^ (sum >>> 1) : sum >>> 1;
  return sum;
});
