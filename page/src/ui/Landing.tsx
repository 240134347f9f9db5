import { Icon } from "./icons";
import { openSample, pasteFromClipboard, pickFiles } from "./panels";

export const SAMPLES = [
  { file: "coffee.jpg", label: "a cup of coffee" },
  { file: "cat.jpg", label: "a cat" },
] as const;

/** What there is before there is a photo. */
export function Landing() {
  return (
    <div class="landing">
      <div class="drop-zone">
        <Illustration />
        <p class="lead mouse-only">Drop a photo, point at something, get its mask.</p>
        <p class="lead touch-only">Open a photo, tap on something, get its mask.</p>
        <div class="landing-buttons">
          <button type="button" class="button primary large" onClick={() => pickFiles(false)}>
            <Icon name="picture" />
            Open photos
          </button>
          <button type="button" class="button large" onClick={() => pickFiles(true)}>
            <Icon name="folder" />
            Folder
          </button>
          <button type="button" class="button large" onClick={() => void pasteFromClipboard()}>
            <Icon name="paste" />
            Paste
          </button>
        </div>
      </div>
      <div class="samples">
        <span class="quiet">or try</span>
        {SAMPLES.map(({ file, label }) => (
          <button
            type="button"
            class="sample"
            key={file}
            aria-label={`Open the sample photo: ${label}`}
            onClick={() => void openSample(file)}
          >
            <img src={`samples/${file}`} alt="" width={120} height={80} />
          </button>
        ))}
      </div>
    </div>
  );
}

// A photo of a cup, a pointer that comes to it, and the cup's mask.
function Illustration() {
  return (
    <svg class="illustration" viewBox="0 0 220 140" aria-hidden="true">
      <rect class="ill-frame" x="20" y="10" width="180" height="120" rx="12" />
      <circle class="ill-sun" cx="164" cy="42" r="12" />
      <path class="ill-hill" d="M20 112c30-26 58-30 86-16s60 8 94-22v44a12 12 0 0 1-12 12H32a12 12 0 0 1-12-12z" />
      <g class="ill-object">
        <path d="M78 56h54v30a22 22 0 0 1-22 22h-10a22 22 0 0 1-22-22z" />
        <path class="ill-handle" d="M132 64h8a11 11 0 0 1 0 22h-9" />
      </g>
      <path class="ill-pointer" d="M112 82v24l6.500-6 4.500 9.500 4.500-2-4.500-9.500 9-.5z" />
    </svg>
  );
}
