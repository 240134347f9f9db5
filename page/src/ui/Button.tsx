import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "./icons";

interface Props {
  readonly icon: IconName;
  /** What it does, for everybody: the accessible name, and a tip with the key. */
  readonly label: string;
  readonly shortcut?: string;
  readonly onClick: () => void;
  readonly disabled?: boolean;
  readonly pressed?: boolean;
  readonly class?: string;
  readonly children?: ComponentChildren;
}

/** A button with an icon; its text is told, and shown where the pointer rests. */
export function IconButton({ icon, label, shortcut, onClick, disabled, pressed, class: name = "", children }: Props) {
  return (
    <button
      type="button"
      class={`icon-button ${name}`}
      aria-label={label}
      aria-pressed={pressed}
      aria-keyshortcuts={shortcut}
      data-tip={shortcut ? `${label}  ${shortcut.replace("Control", "Ctrl").replaceAll("+", " ")}` : label}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
      {children}
    </button>
  );
}
