// What belongs to the moment, above the photo's lower edge: candidates of the active object, the brush, everything mode.
import type { Thing } from "../core/annotations";
import { areaOfRle } from "../core/rle";
import {
  active,
  brush,
  choose,
  engineState,
  everything,
  finish,
  negative,
  photoState,
  pickAll,
  remove,
  retry,
  stopEverything,
  tool,
} from "../session";
import { IconButton } from "./Button";
import { Icon } from "./icons";

export const MOST_BRUSH = 120;

export function Bar() {
  const found = everything.value;
  if (found) return <EverythingBar />;
  const thing = active.value;
  const brushing = tool.value === "brush" || tool.value === "eraser";
  if (photoState.value === "opening" || photoState.value === "encoding") {
    const { phase } = engineState.value;
    if (phase === "failed" || phase === "token") return <EngineMissing />;
    return (
      <div class="bar" role="status">
        <span class="spinner" />
        <span>
          {engineState.value.phase === "loading" ? loadingWords(engineState.value.part) : "Looking at the photo…"}
        </span>
      </div>
    );
  }
  if (!thing && !brushing) return null;
  return (
    <div class="bar" role="group" aria-label="Object">
      {brushing && <BrushSize />}
      {thing && (
        <>
          {thing.candidates.length > 1 && !brushing && <Candidates thing={thing} />}
          {!brushing && tool.value !== "select" && (
            <IconButton
              icon="not"
              label="Clicks say: not this"
              shortcut="X"
              pressed={negative.value}
              class="negative"
              onClick={() => {
                negative.value = !negative.value;
              }}
            />
          )}
          <IconButton icon="trash" label="Delete the object" shortcut="Delete" onClick={() => remove(thing.id)} />
          <button type="button" class="button primary" onClick={finish}>
            <Icon name="check" />
            Done
          </button>
        </>
      )}
    </div>
  );
}

function EngineMissing() {
  const state = engineState.value;
  return (
    <div class="bar" role="alert">
      <span>{state.phase === "failed" ? state.message : "The server wants its token."}</span>
      {state.phase === "failed" && (
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

function loadingWords(part: number | null): string {
  return part === null || part === 1 ? "Starting the model…" : `Loading the model… ${Math.round(100 * part)}%`;
}

/** From the smallest to the largest, which is what people mean by them: a part, the whole, all around it. */
export function bySize(thing: Thing): number[] {
  const areas = thing.candidates.map(({ rle }) => areaOfRle(rle));
  return areas.map((_, index) => index).sort((a, b) => areas[a]! - areas[b]!);
}

function Candidates({ thing }: { thing: Thing }) {
  const order = bySize(thing);
  const place = order.indexOf(thing.chosen);
  const score = thing.candidates[thing.chosen]!.score;
  return (
    <div class="candidates">
      <span class="size small" aria-hidden="true" />
      <span class="slider">
        <span class="ticks" aria-hidden="true">
          {order.map((index) => (
            <span key={index} />
          ))}
        </span>
        <input
          type="range"
          min={0}
          max={order.length - 1}
          step={1}
          value={place}
          aria-label="Which mask: from small to large"
          aria-valuetext={`mask ${place + 1} of ${order.length}, ${Math.round(100 * score)} percent sure`}
          onInput={(event) => choose(order[Number(event.currentTarget.value)]!, `candidate ${thing.id}`)}
        />
      </span>
      <span class="size large" aria-hidden="true" />
      <output class="score" title="How sure the model is">{`${Math.round(100 * score)}%`}</output>
    </div>
  );
}

function BrushSize() {
  return (
    <label class="brush-size">
      <span class="brush-dot" aria-hidden="true" />
      <input
        type="range"
        min={2}
        max={MOST_BRUSH}
        value={brush.value}
        aria-label="Size of the brush"
        onInput={(event) => {
          brush.value = Number(event.currentTarget.value);
        }}
      />
      <output class="score">{brush.value}</output>
    </label>
  );
}

function EverythingBar() {
  const found = everything.value!;
  if (found.phase === "searching") {
    return (
      <div class="bar" role="group" aria-label="Everything">
        <progress {...(found.part !== null && { value: found.part })} aria-label="Searching for everything" />
        <span>Searching…</span>
        <button type="button" class="button" onClick={() => stopEverything()}>
          Cancel
        </button>
      </div>
    );
  }
  const left = found.all.filter(({ picked }) => !picked).length;
  return (
    <div class="bar" role="group" aria-label="Everything">
      <span>
        {left} found. <span class="quiet wide-only">Click on those to keep.</span>
      </span>
      <button type="button" class="button" onClick={pickAll}>
        Keep all
      </button>
      <button type="button" class="button primary" onClick={() => stopEverything()}>
        <Icon name="check" />
        Done
      </button>
    </div>
  );
}
