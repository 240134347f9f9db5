import { useEffect, useRef } from "preact/hooks";
import type { Entry } from "../photos";
import { currentKey, entries, open, removePhoto } from "../session";
import { IconButton } from "./Button";
import { Icon } from "./icons";
import { pickFiles, reveal } from "./panels";

/** The photos of the session. */
export function Strip() {
  if (entries.value.length < 2) return null;
  return (
    <nav class="strip" aria-label="Photos">
      <ul>
        {entries.value.map((entry) => (
          <Thumbnail key={entry.key} entry={entry} shown={entry.key === currentKey.value} />
        ))}
      </ul>
      <IconButton icon="plus" label="Add photos" onClick={() => pickFiles(false)} />
    </nav>
  );
}

function Thumbnail({ entry, shown }: { entry: Entry; shown: boolean }) {
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (shown) reveal(item.current!);
  }, [shown]);
  const marks = entry.things === 0 ? "nothing marked" : entry.things === 1 ? "1 object" : `${entry.things} objects`;
  return (
    <li ref={item}>
      <button
        type="button"
        class="thumbnail"
        aria-label={`${entry.name}, ${entry.broken ? "cannot be read" : marks}`}
        aria-current={shown ? "true" : undefined}
        title={entry.name}
        onClick={() => void open(entry.key)}
      >
        {entry.thumbnail ? <img src={entry.thumbnail} alt="" /> : <Icon name="picture" />}
        {entry.things > 0 && <span class="mark">{entry.things}</span>}
      </button>
      <button
        type="button"
        class="thumbnail-close"
        aria-label={`Close ${entry.name}`}
        onClick={() => void removePhoto(entry.key)}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}
