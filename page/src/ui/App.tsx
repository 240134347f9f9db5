import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { fit, Stage, zoomBy, zoomPercent } from "../canvas/Stage";
import { dropped, entriesOf } from "../photos";
import { add, announcement, current, dismiss, entries, notices, photoState, retry } from "../session";
import { Bar } from "./Bar";
import { IconButton } from "./Button";
import { EnginePanel } from "./EnginePanel";
import { Export } from "./Export";
import { Header } from "./Header";
import { Help } from "./Help";
import { Icon } from "./icons";
import { onKey, onPaste } from "./keys";
import { Landing } from "./Landing";
import { Names, Objects } from "./Objects";
import { Strip } from "./Strip";
import { Toolbar } from "./Toolbar";

const dragging = signal(false);

function useDrops(): void {
  useEffect(() => {
    let depth = 0;
    const files = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    const listeners: { [name: string]: (event: DragEvent) => void } = {
      dragenter: (event) => {
        if (files(event)) dragging.value = ++depth > 0;
      },
      dragleave: (event) => {
        if (files(event)) dragging.value = --depth > 0;
      },
      dragover: (event) => {
        if (files(event)) event.preventDefault();
      },
      drop: (event) => {
        depth = 0;
        dragging.value = false;
        if (!files(event)) return;
        event.preventDefault();
        void dropped(event.dataTransfer!).then(add);
      },
    };
    for (const [name, call] of Object.entries(listeners)) addEventListener(name, call as EventListener);
    addEventListener("keydown", onKey);
    addEventListener("paste", onPaste);
    return () => {
      for (const [name, call] of Object.entries(listeners)) removeEventListener(name, call as EventListener);
      removeEventListener("keydown", onKey);
      removeEventListener("paste", onPaste);
    };
  }, []);
}

export function App() {
  useDrops();
  const any = entries.value.length > 0;
  const name = current.value?.name;
  useEffect(() => {
    document.title = name ? `${name} - evsam` : "evsam";
  }, [name]);
  return (
    <div class="app">
      <Header />
      <EnginePanel />
      <main class={any ? "work" : "work none"}>
        {any ? (
          <>
            <Toolbar />
            <div class="canvas">
              <Stage />
              <Bar />
              <Zoom />
              {photoState.value === "failed" && (
                <div class="bar failed" role="alert">
                  <span>
                    {current.value?.broken ? "This photo cannot be shown." : "This photo could not be looked at."}
                  </span>
                  {!current.value?.broken && (
                    <button type="button" class="button" onClick={retry}>
                      Try again
                    </button>
                  )}
                </div>
              )}
            </div>
            <Objects />
          </>
        ) : (
          <Landing />
        )}
      </main>
      <Strip />
      <Names />
      <Help />
      <Export />
      <Notices />
      <Pickers />
      {dragging.value && (
        <div class="drop-veil" aria-hidden="true">
          <Icon name="picture" />
        </div>
      )}
    </div>
  );
}

function Zoom() {
  return (
    <div class="zoom" role="group" aria-label="Zoom">
      <IconButton icon="minus" label="Zoom out" shortcut="-" onClick={() => zoomBy(0.8)} />
      <button
        type="button"
        class="zoom-value"
        aria-label={`Zoom is ${zoomPercent.value} percent; show the whole photo`}
        data-tip="Whole photo  0"
        onClick={fit}
      >
        {zoomPercent.value}%
      </button>
      <IconButton icon="plus" label="Zoom in" shortcut="+" onClick={() => zoomBy(1.25)} />
      <IconButton icon="fit" label="Show the whole photo" shortcut="0" onClick={fit} />
    </div>
  );
}

function Notices() {
  return (
    <section aria-label="What happened">
      <ul class="notices" aria-label="Messages">
        {notices.value.map(({ id, text, bad }) => (
          <li key={id} class={bad ? "bad" : ""}>
            <span>{text}</span>
            <IconButton icon="close" label="Close the message" onClick={() => dismiss(id)} />
          </li>
        ))}
      </ul>
      <p id="said" class="visually-hidden" aria-live="polite" role="status">
        {announcement.value}
      </p>
    </section>
  );
}

/** The browser's own dialogs for files, which buttons and keys open. */
function Pickers() {
  const chosen = (event: { currentTarget: HTMLInputElement }): void => {
    void add(entriesOf(event.currentTarget.files ?? []));
    event.currentTarget.value = ""; // the same photo may be picked again
  };
  return (
    <>
      <input id="pick-photos" type="file" accept="image/*" multiple hidden aria-label="Photos" onChange={chosen} />
      <input
        id="pick-folder"
        type="file"
        hidden
        aria-label="Folder of photos"
        ref={(field) => field?.setAttribute("webkitdirectory", "")}
        onChange={chosen}
      />
    </>
  );
}
