// Linked into tests for WebAssembly: what they read from the environment is node's.
Module["preRun"] = () => Object.assign(ENV, process.env);
