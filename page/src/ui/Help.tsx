import { Dialog } from "./Dialog";
import { helpOpen } from "./panels";
import { TOOLS } from "./Toolbar";

const MOUSE: readonly (readonly [string, string])[] = [
  ["Rest on something", "see its mask"],
  ["Click", "keep it; click again to add to it"],
  ["Shift click, right click", "not this"],
  ["Drag", "a box around an object"],
  ["Wheel, pinch", "zoom"],
  ["Space drag, middle button", "move the photo"],
];

const TOUCH: readonly (readonly [string, string])[] = [
  ["Tap", "this"],
  ["Press and hold", "not this"],
  ["Drag", "a box"],
  ["Two fingers", "move and zoom"],
];

const KEYS: readonly (readonly [string, string])[] = [
  ...TOOLS.map(({ key, label }) => [key, label.toLowerCase()] as const),
  ["A", "find everything"],
  ["N, Esc", "done; the next click begins a new object"],
  ["1, 2, 3", "smallest to largest mask"],
  ["X", "clicks say: not this"],
  ["[, ]", "smaller, larger brush"],
  ["Arrows", "move a cursor on the photo; Shift: far, Alt: one pixel"],
  ["Enter, Shift Enter", "this, not this at the cursor"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
  ["Delete", "delete the object"],
  ["H", "hide or show the object"],
  ["+, −, 0", "zoom, whole photo"],
  ["Page Up, Page Down", "previous, next photo"],
  ["O, Ctrl V", "open photos, paste one"],
  ["Ctrl S", "export"],
  ["T", "light or dark"],
];

function Table({ title, rows }: { title: string; rows: readonly (readonly [string, string])[] }) {
  return (
    <section>
      <h3>{title}</h3>
      <dl class="keys">
        {rows.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(", ").map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

export function Help() {
  return (
    <Dialog open={helpOpen} title="Keys and help">
      <div class="help">
        <div>
          <Table title="Mouse and pen" rows={MOUSE} />
          <Table title="Fingers" rows={TOUCH} />
        </div>
        <Table title="Keys" rows={KEYS} />
      </div>
    </Dialog>
  );
}
