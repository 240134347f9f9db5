// Keys that work wherever the focus is, unless it is in a field.
import { actualSize, fit, zoomBy } from "../canvas/Stage";
import {
  active,
  add,
  brush,
  choose,
  doc,
  dropHover,
  findEverything,
  finish,
  goBack,
  goForth,
  negative,
  photoState,
  remove,
  setHidden,
  step,
} from "../session";
import { bySize, MOST_BRUSH } from "./Bar";
import { engineOpen, exportOpen, helpOpen, objectsOpen, pasted, pickFiles } from "./panels";
import { TOOLS, takeTool } from "./Toolbar";
import { switchTheme } from "./theme";

const CALLS: Record<string, () => void> = {
  a: () => {
    if (photoState.value === "ready") void findEverything();
  },
  n: finish,
  x: () => {
    negative.value = !negative.value;
    dropHover();
  },
  h: () => {
    if (active.value) setHidden(active.value.id, !active.value.hidden);
  },
  o: () => pickFiles(false),
  t: switchTheme,
  "?": () => {
    helpOpen.value = true;
  },
  "+": () => zoomBy(1.25),
  "=": () => zoomBy(1.25),
  "-": () => zoomBy(0.8),
  "0": fit,
  "9": actualSize,
  "[": () => {
    brush.value = Math.max(2, Math.round(brush.value * 0.8));
  },
  "]": () => {
    brush.value = Math.min(MOST_BRUSH, Math.max(brush.value + 1, Math.round(brush.value * 1.25)));
  },
  Delete: removeActive,
  Backspace: removeActive,
  PageUp: () => step(-1),
  PageDown: () => step(1),
};

function removeActive(): void {
  if (active.value) remove(active.value.id);
}

function leave(): void {
  if (engineOpen.value) {
    engineOpen.value = false;
    document.querySelector<HTMLElement>(".chip")?.focus();
  } else if (objectsOpen.value) objectsOpen.value = false;
  else finish();
}

export function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (target.closest?.("dialog")) return;
  const field = target.closest?.("input:not([type=range], [type=radio], [type=color]), textarea, select");
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (field || (event.altKey && !command)) return;
  if (command) {
    if (key === "z") (event.shiftKey ? goForth : goBack)();
    else if (key === "y") goForth();
    else if (key === "s") {
      if ((doc.value?.things.length ?? 0) > 0) exportOpen.value = true;
    } else return;
    event.preventDefault();
    return;
  }
  if (key === "Escape") leave();
  else if (/^[1-9]$/.test(key) && active.value && Number(key) <= active.value.candidates.length) {
    choose(bySize(active.value)[Number(key) - 1]!);
  } else if (TOOLS.some((one) => one.key.toLowerCase() === key) && doc.value) {
    takeTool(TOOLS.find((one) => one.key.toLowerCase() === key)!.tool);
  } else if (key in CALLS && !(event.repeat && key === "a")) CALLS[key]!();
  else return;
  event.preventDefault();
}

export function onPaste(event: ClipboardEvent): void {
  const blobs = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  if (blobs.length === 0) return;
  event.preventDefault();
  void add(blobs.map(pasted));
}
