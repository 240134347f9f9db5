import {
  canRedo,
  canUndo,
  doc,
  everything,
  findEverything,
  finish,
  goBack,
  goForth,
  photoState,
  stopEverything,
  type Tool,
  tool,
} from "../session";
import { IconButton } from "./Button";
import type { IconName } from "./icons";
import { objectsOpen } from "./panels";

export const TOOLS: readonly {
  readonly tool: Tool;
  readonly icon: IconName;
  readonly label: string;
  readonly key: string;
}[] = [
  { tool: "select", icon: "select", label: "Select objects", key: "V" },
  { tool: "point", icon: "point", label: "Point at an object", key: "P" },
  { tool: "box", icon: "box", label: "Draw a box", key: "B" },
  { tool: "brush", icon: "brush", label: "Brush", key: "R" },
  { tool: "eraser", icon: "eraser", label: "Eraser", key: "E" },
];

export function takeTool(chosen: Tool): void {
  if (everything.value) stopEverything();
  tool.value = chosen;
}

export function Toolbar() {
  const none = doc.value === null;
  return (
    <div class="toolbar" role="toolbar" aria-label="Tools" aria-orientation="vertical">
      {TOOLS.map(({ tool: each, icon, label, key }) => (
        <IconButton
          key={each}
          icon={icon}
          label={label}
          shortcut={key}
          pressed={tool.value === each && !everything.value}
          disabled={none}
          onClick={() => takeTool(each)}
        />
      ))}
      <IconButton
        icon="everything"
        label="Find everything"
        shortcut="A"
        pressed={everything.value !== null}
        disabled={none || (photoState.value !== "ready" && !everything.value)}
        onClick={() => void findEverything()}
      />
      <span class="divider" />
      <IconButton icon="plus" label="New object" shortcut="N" disabled={none} onClick={finish} class="wide-only" />
      <IconButton icon="undo" label="Undo" shortcut="Control+Z" disabled={!canUndo.value} onClick={goBack} />
      <IconButton icon="redo" label="Redo" shortcut="Control+Shift+Z" disabled={!canRedo.value} onClick={goForth} />
      <IconButton
        icon="objects"
        label="Objects"
        pressed={objectsOpen.value}
        disabled={none}
        class="narrow-only"
        onClick={() => {
          objectsOpen.value = !objectsOpen.value;
        }}
      >
        {(doc.value?.things.length ?? 0) > 0 && <span class="count">{doc.value!.things.length}</span>}
      </IconButton>
    </div>
  );
}
