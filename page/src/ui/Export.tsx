import { signal } from "@preact/signals";
import { FORMATS, type Format } from "../core/exporting";
import { download } from "../exports";
import { current, entries, notify } from "../session";
import { Dialog } from "./Dialog";
import { exportOpen } from "./panels";

const WORDS: Record<Format, { readonly name: string; readonly ending: string; readonly text: string }> = {
  cutout: { name: "Cut-outs", ending: "png", text: "Each object on its own, on a transparent ground." },
  labels: { name: "Label map", ending: "png", text: "The number of its object in each pixel; 0 where there is none." },
  coco: { name: "COCO", ending: "json", text: "Exact masks as run lengths, for training and evaluation." },
  svg: { name: "SVG", ending: "svg", text: "Outlines as paths, for drawing programs." },
  geojson: { name: "GeoJSON", ending: "geojson", text: "Polygons along the edges of pixels." },
  yolo: { name: "YOLO", ending: "zip", text: "Polygons and classes, for training YOLO models." },
};

const everyPhoto = signal(false);
const busy = signal<number | null>(null);

async function run(format: Format): Promise<void> {
  const marked = entries.value.filter(({ things }) => things > 0);
  const chosen = everyPhoto.value || (current.value?.things ?? 0) === 0 ? marked : [current.value!];
  busy.value = 0;
  try {
    const name = await download(chosen, format, (part) => {
      busy.value = part;
    });
    notify(`${name} is in your downloads.`);
    exportOpen.value = false;
  } catch (error) {
    const empty = error instanceof RangeError;
    notify(empty ? "There is nothing to export: all masks are empty." : `The file could not be made: ${error}`, true);
  } finally {
    busy.value = null;
  }
}

export function Export() {
  const marked = entries.value.filter(({ things }) => things > 0).length;
  return (
    <Dialog open={exportOpen} title="Export">
      {marked > 1 && (
        <fieldset class="segments">
          <legend class="visually-hidden">Of which photos</legend>
          {[false, true].map((all) => (
            <label key={String(all)} class={everyPhoto.value === all ? "chosen" : ""}>
              <input
                type="radio"
                name="scope"
                checked={everyPhoto.value === all}
                onChange={() => {
                  everyPhoto.value = all;
                }}
              />
              {all ? `All ${marked} marked photos` : "This photo"}
            </label>
          ))}
        </fieldset>
      )}
      <ul class="formats">
        {FORMATS.map((format) => (
          <li key={format}>
            <button type="button" class="format" disabled={busy.value !== null} onClick={() => void run(format)}>
              <FormatPicture format={format} />
              <span class="format-words">
                <strong>
                  {WORDS[format].name} <span class="quiet">.{WORDS[format].ending}</span>
                </strong>
                <span class="quiet">{WORDS[format].text}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
      {busy.value !== null && <progress value={busy.value} aria-label="Making the file" />}
    </Dialog>
  );
}

const BLOB = "M12 8c6-3 14 0 15 7s-3 12-9 12-11-4-11-10c0-4 2-7 5-9z";

function FormatPicture({ format }: { format: Format }) {
  return (
    <svg class={`format-picture ${format}`} viewBox="0 0 36 36" aria-hidden="true">
      {format === "cutout" && (
        <>
          <path
            class="checks"
            d="M4 4h7v7H4zM18 4h7v7h-7zM11 11h7v7h-7zM25 11h7v7h-7zM4 18h7v7H4zM18 18h7v7h-7zM11 25h7v7h-7zM25 25h7v7h-7z"
          />
          <path class="filled" d={BLOB} />
        </>
      )}
      {format === "labels" && (
        <>
          <rect class="ground" x="4" y="4" width="28" height="28" rx="3" />
          <path class="filled" d={BLOB} />
          <path class="second" d="M22 20h8v8h-8z" />
        </>
      )}
      {format === "coco" && (
        <path
          class="lines"
          d="M13 8c-4 0-2 6-3 8-.5 1-2 2-2 2s1.500 1 2 2c1 2-1 8 3 8M23 8c4 0 2 6 3 8 .5 1 2 2 2 2s-1.500 1-2 2c-1 2 1 8-3 8M18 14v.1M18 20c0 2-.5 3-1.500 4"
        />
      )}
      {format === "svg" && (
        <>
          <path class="lines" d={BLOB} />
          <path class="nodes" d="M10 6h4v4h-4zM25 13h4v4h-4zM16 25h4v4h-4zM5 15h4v4H5z" />
        </>
      )}
      {format === "geojson" && (
        <>
          <path class="faint" d="M4 12h28M4 24h28M12 4v28M24 4v28" />
          <path class="lines" d="M10 14 18 8l9 6-2 11-11 3z" />
        </>
      )}
      {format === "yolo" && (
        <>
          <path class="faint dashed" d="M7 7h22v22H7z" />
          <path class="lines" d="M10 14 18 8l9 6-2 11-11 3z" />
        </>
      )}
    </svg>
  );
}
