import { current, currentKey, doc, engineState, entries, kind, removePhoto, step } from "../session";
import { IconButton } from "./Button";
import { Icon } from "./icons";
import { engineOpen, exportOpen, helpOpen, pickFiles } from "./panels";
import { switchTheme, theme } from "./theme";

export function Header() {
  const place = entries.value.findIndex((entry) => entry.key === currentKey.value);
  const dark = theme.value === "dark";
  return (
    <header class="header">
      <span class="brand">
        <svg class="logo" viewBox="0 0 24 24" aria-hidden="true">
          <path
            class="logo-shape"
            d="M5 13.500C3.500 9 7 4.500 12 4.500s8 3 7.500 7.500-4 8-8 7.500-5.300-2.500-6.500-6z"
          />
          <circle class="logo-dot" cx="12.500" cy="11.500" r="2.500" />
        </svg>
        <h1>evsam</h1>
      </span>
      <div class="header-middle">
        {entries.value.length > 0 && (
          <>
            <IconButton
              icon="left"
              label="Previous photo"
              shortcut="PageUp"
              disabled={place <= 0}
              onClick={() => step(-1)}
            />
            <span class="photo-name" title={current.value?.name}>
              {current.value?.name}
              {entries.value.length > 1 && <span class="quiet">{` ${place + 1} / ${entries.value.length}`}</span>}
            </span>
            <IconButton
              icon="right"
              label="Next photo"
              shortcut="PageDown"
              disabled={place < 0 || place >= entries.value.length - 1}
              onClick={() => step(1)}
            />
            <IconButton
              icon="close"
              label="Close the photo"
              class="quiet-button"
              disabled={currentKey.value === null}
              onClick={() => void removePhoto(currentKey.value!)}
            />
          </>
        )}
      </div>
      <div class="header-end">
        <EngineChip />
        {entries.value.length > 0 && (
          <IconButton icon="open" label="Open photos" shortcut="O" onClick={() => pickFiles(false)} />
        )}
        <IconButton
          icon={dark ? "sun" : "moon"}
          label={dark ? "Light theme" : "Dark theme"}
          shortcut="T"
          class="wide-only"
          onClick={switchTheme}
        />
        <IconButton
          icon="help"
          label="Keys and help"
          shortcut="?"
          class="wide-only"
          onClick={() => {
            helpOpen.value = true;
          }}
        />
        <button
          type="button"
          class="button primary"
          aria-label="Export"
          disabled={(doc.value?.things.length ?? 0) === 0 && !entries.value.some(({ things }) => things > 0)}
          onClick={() => {
            exportOpen.value = true;
          }}
        >
          <Icon name="export" />
          <span class="wide-only">Export</span>
        </button>
      </div>
    </header>
  );
}

function EngineChip() {
  const state = engineState.value;
  const text = { loading: "loading", ready: "", token: "needs a token", failed: "failed" }[state.phase];
  const name = state.phase === "ready" ? state.model.name : kind.value === "tab" ? "nano" : "server";
  return (
    <button
      type="button"
      class={`chip ${state.phase}`}
      aria-haspopup="dialog"
      aria-expanded={engineOpen.value}
      aria-label={`Model: ${name}, ${kind.value === "tab" ? "in this tab" : "on the server"}${text ? `, ${text}` : ""}`}
      onClick={() => {
        engineOpen.value = !engineOpen.value;
      }}
    >
      <span class="dot" />
      <Icon name={kind.value} />
      <span class="chip-name">{name}</span>
    </button>
  );
}
