// Which engine computes, and the photo that is open as that engine takes it.
import { type Engine, EngineError, type Kind } from "../engines/engine";
import { MixedEngine } from "../engines/mixed";
import { askModel, Server } from "../engines/server";
import { makeTabEngine } from "../engines/tab";
import { dropHover, fillMissing } from "./predicting";
import {
  announce,
  complain,
  engineState,
  everything,
  held,
  kind,
  notify,
  photoState,
  picture,
  saveSetting,
  serverModel,
  setting,
} from "./state";

let server = new Server(null);
let starting = new AbortController();
let work = new AbortController(); // of the photo that is open

/**
 * Begins with the engine that was chosen last. Who starts a server with a model of his own wants that one, until he says
 * otherwise.
 */
export async function startEngine(): Promise<void> {
  server = new Server(sessionStorage.getItem("evsam-token"));
  const asked = askModel(server).catch((error) => {
    return error instanceof EngineError && error.reason === "token" ? "unknown" : null;
  });
  void asked.then((model) => {
    serverModel.value = model;
  });
  await useEngine((await setting<Kind>("engine")) ?? preferred(await asked));
}

function preferred(model: (typeof serverModel)["value"]): Kind {
  return model !== null && model !== "unknown" && model.variant !== "nano" ? "server" : "tab";
}

/** Takes another engine, and remembers that. */
export function chooseEngine(wanted: Kind): Promise<void> {
  saveSetting("engine", wanted);
  return useEngine(wanted);
}

async function useEngine(wanted: Kind): Promise<void> {
  kind.value = wanted;
  starting.abort();
  starting = new AbortController();
  const { signal } = starting;
  leaveEngine();
  engineState.value = { phase: "loading", part: null };
  try {
    const made = await makeEngine(wanted, signal);
    if (signal.aborted) {
      made.close();
      return;
    }
    held.engine = made;
    engineState.value = { phase: "ready", model: made.model() };
    if (picture.value) void encodeCurrent();
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof EngineError && error.reason === "token") engineState.value = { phase: "token" };
    else engineState.value = { phase: "failed", message: (error as Error).message };
  }
}

async function makeEngine(wanted: Kind, signal: AbortSignal): Promise<Engine> {
  if (wanted === "tab") {
    return makeTabEngine((part) => {
      if (!signal.aborted) engineState.value = { phase: "loading", part };
    }, signal);
  }
  const model = await askModel(server);
  serverModel.value = model;
  if (model === null) throw new EngineError("unreachable", "This page comes from no evsam server.");
  return new MixedEngine(server, model);
}

/** Tries again with the token that the server wants. */
export function giveToken(token: string): void {
  sessionStorage.setItem("evsam-token", token);
  server = new Server(token);
  void chooseEngine("server");
}

function leaveEngine(): void {
  leaveEncoded();
  held.engine?.close();
  held.engine = null;
  if (picture.value) photoState.value = "encoding";
}

/** Ends what is computed for the photo that is open, and forgets what it was encoded to. */
export function leaveEncoded(): void {
  work.abort();
  work = new AbortController();
  dropHover();
  everything.value = null;
  held.encoded?.close();
  held.encoded = null;
}

/** Encodes the photo that is open. */
export async function encodeCurrent(): Promise<void> {
  const shown = picture.value;
  if (!shown || !held.engine) return;
  leaveEncoded();
  const { signal } = work;
  photoState.value = "encoding";
  try {
    const made = await held.engine.encode(shown.photo, signal);
    if (signal.aborted) {
      made.close();
      return;
    }
    held.encoded = made;
    photoState.value = "ready";
    announce("The photo is ready: point at something.");
    fillMissing();
  } catch (error) {
    if (signal.aborted) return;
    photoState.value = "failed";
    complain(error);
  }
}

/** Encodes the photo again, after an error. */
export function retry(): void {
  if (engineState.value.phase === "failed" || held.engine === null) void chooseEngine(kind.value);
  else void encodeCurrent();
}

/** Whether prompts can be answered; where not, people are told why. */
export function ready(): boolean {
  if (held.encoded) return true;
  if (photoState.value === "encoding") notify("One moment: the photo is being looked at.");
  else if (photoState.value === "failed") retry();
  return false;
}
