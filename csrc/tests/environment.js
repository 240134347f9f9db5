// Linked into tests for WebAssembly: what they read from the environment is node's, and emscripten 3.1 is not to take
// node's fetch() for a browser's.
Module["preRun"] = () => Object.assign(ENV, process.env);
globalThis.fetch = undefined;
