// Pixels of photos as the model takes them: turned by their EXIF, and not converted by their colour profile, as in Python.
import { EngineError, type Source } from "./engine";

/** Pixels in the tab at most: more than this, and browsers' canvases give up. */
const MOST_PIXELS = 120_000_000;

export async function readPixels({ blob, width, height }: Source): Promise<ImageData> {
  if (width * height > MOST_PIXELS) {
    throw new EngineError(
      "photo",
      `The photo has ${Math.round((width * height) / 1e6)} megapixels, which is too many.`,
    );
  }
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  try {
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
    if (!context) throw new EngineError("memory", "There was not enough memory for this photo.");
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}
