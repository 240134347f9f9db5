import { useEffect, useRef } from "preact/hooks";
import type { Thing } from "../core/annotations";
import { activate, active, doc, finish, pointed, recolour, remove, rename, setHidden } from "../session";
import { IconButton } from "./Button";
import { Icon } from "./icons";
import { objectsOpen, reveal } from "./panels";

/** The list of what is marked in the photo. */
export function Objects() {
  const state = doc.value;
  const things = state?.things ?? [];
  return (
    <aside class={`objects ${objectsOpen.value ? "open" : ""}`} aria-label="Objects">
      <div class="panel-head">
        <h2>Objects</h2>
        <IconButton icon="plus" label="Begin a new object" onClick={finish} disabled={!active.value} />
        <IconButton
          icon="close"
          label="Close the list"
          class="narrow-only"
          onClick={() => {
            objectsOpen.value = false;
          }}
        />
      </div>
      {things.length === 0 ? (
        <div class="empty">
          <Icon name="point" />
          <p>Point at something and click.</p>
        </div>
      ) : (
        <ul>
          {things.map((thing) => (
            <ObjectRow key={thing.id} thing={thing} chosen={thing.id === state?.active} />
          ))}
        </ul>
      )}
    </aside>
  );
}

function ObjectRow({ thing, chosen }: { thing: Thing; chosen: boolean }) {
  const { id, name, colour, hidden, candidates, strokes } = thing;
  const title = `${name} ${id}`;
  const score = strokes.length === 0 ? candidates[thing.chosen]?.score : undefined;
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (chosen) reveal(row.current!);
  }, [chosen]);
  return (
    <li
      ref={row}
      class={`object ${chosen ? "chosen" : ""} ${hidden ? "is-hidden" : ""}`}
      aria-current={chosen ? "true" : undefined}
      onPointerEnter={() => {
        pointed.value = id;
      }}
      onPointerLeave={() => {
        pointed.value = null;
      }}
    >
      <span class="number" aria-hidden="true">
        {id}
      </span>
      <label class="swatch">
        <span class="swatch-colour" style={{ backgroundColor: colour }} />
        <input
          type="color"
          aria-label={`Colour of ${title}`}
          value={colour}
          onInput={(event) => recolour(id, event.currentTarget.value)}
        />
      </label>
      <input
        class="name"
        aria-label={`Name of ${title}`}
        value={name}
        spellcheck={false}
        list="names"
        maxLength={100}
        onInput={(event) => rename(id, event.currentTarget.value)}
        onFocus={(event) => event.currentTarget.select()}
        onKeyDown={(event) => {
          if (event.key === "Enter" || event.key === "Escape") event.currentTarget.blur();
        }}
      />
      {score !== undefined && (
        <span class="score" title="How sure the model is">
          {Math.round(100 * score)}
        </span>
      )}
      <button
        type="button"
        class="row-select"
        aria-label={chosen ? `${title} is chosen` : `Choose ${title}`}
        aria-pressed={chosen}
        onClick={() => activate(chosen ? null : id)}
      />
      <span class="row-actions">
        <IconButton
          icon={hidden ? "hidden" : "eye"}
          label={hidden ? `Show ${title}` : `Hide ${title}`}
          pressed={hidden}
          onClick={() => setHidden(id, !hidden)}
        />
        <IconButton icon="trash" label={`Delete ${title}`} onClick={() => remove(id)} />
      </span>
    </li>
  );
}

/** Names that were given already, which the fields for names offer. */
export function Names() {
  const names = [...new Set(doc.value?.things.map(({ name }) => name) ?? [])];
  return (
    <datalist id="names">
      {names.map((name) => (
        <option key={name} value={name} />
      ))}
    </datalist>
  );
}
