import { useEffect, useRef } from "preact/hooks";
import { chooseEngine, engineState, giveToken, kind, retry, serverModel } from "../session";
import { Icon } from "./icons";
import { engineOpen, helpOpen } from "./panels";
import { switchTheme, theme } from "./theme";

/** Where the model computes: in this tab or on the server. */
export function EnginePanel() {
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!engineOpen.value) return;
    panel.current?.querySelector<HTMLInputElement>("input:checked, input")?.focus();
    const away = (event: Event): void => {
      const target = event.target as Element;
      if (!panel.current?.contains(target) && !target.closest(".chip")) engineOpen.value = false;
    };
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, [engineOpen.value]);
  const wantsToken = engineState.value.phase === "token";
  if (!engineOpen.value && !wantsToken) return null;
  return (
    <div class="popover engine-panel" role="dialog" aria-label="Where the model computes" ref={panel}>
      <fieldset>
        <legend>Where the model computes</legend>
        <label class="choice">
          <input type="radio" name="engine" checked={kind.value === "tab"} onChange={() => void chooseEngine("tab")} />
          <Icon name="tab" />
          <span>
            <strong>This tab</strong>
            <span class="quiet">nano. Photos stay on this computer.</span>
          </span>
        </label>
        <label class="choice">
          <input
            type="radio"
            name="engine"
            checked={kind.value === "server"}
            disabled={serverModel.value === null && kind.value !== "server"}
            onChange={() => void chooseEngine("server")}
          />
          <Icon name="server" />
          <span>
            <strong>Server</strong>
            <span class="quiet">{serverWords()}</span>
          </span>
        </label>
      </fieldset>
      <EngineStatus />
      {wantsToken && <TokenForm />}
      <div class="panel-foot narrow-only">
        <button type="button" class="button" onClick={switchTheme}>
          <Icon name={theme.value === "dark" ? "sun" : "moon"} />
          {theme.value === "dark" ? "Light" : "Dark"}
        </button>
        <button
          type="button"
          class="button"
          onClick={() => {
            engineOpen.value = false;
            helpOpen.value = true;
          }}
        >
          <Icon name="help" />
          Help
        </button>
      </div>
    </div>
  );
}

function serverWords(): string {
  const model = serverModel.value;
  if (model === null) return "This page comes from no evsam server.";
  return model === "unknown"
    ? "Its own model; photos are sent to it."
    : `${model.variant} on ${model.device}. Photos are sent to it.`;
}

function EngineStatus() {
  const state = engineState.value;
  if (state.phase === "ready") {
    return (
      <p class="status">
        <span class="dot good" /> {state.model.name} on {state.model.place}
      </p>
    );
  }
  if (state.phase === "loading") {
    return (
      <div class="status">
        <span>Loading the model…</span>
        <progress {...(state.part !== null && { value: state.part })} aria-label="Loading the model" />
      </div>
    );
  }
  if (state.phase === "failed") {
    return (
      <div class="status bad">
        <span>{state.message}</span>
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      </div>
    );
  }
  return null;
}

function TokenForm() {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  return (
    <form
      class="token-form"
      onSubmit={(event) => {
        event.preventDefault();
        const token = field.current!.value.trim();
        if (token) giveToken(token);
      }}
    >
      <label>
        The server wants its token
        <input ref={field} type="password" autocomplete="current-password" spellcheck={false} required />
      </label>
      <button type="submit" class="button primary">
        Use it
      </button>
    </form>
  );
}
