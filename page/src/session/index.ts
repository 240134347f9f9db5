// What the page knows and does: photos, the one that is open and what is said about it, the engine, and what people see of
// all that. Panels and canvas read the signals and call these functions; nothing here knows of them.
export { chooseEngine, giveToken, retry } from "./engines";
export { findEverything, foundAt, pick, pickAll, stopEverything } from "./everything";
export { add, documentOf, open, removePhoto, start, step } from "./photos";
export { dropHover, preview, shapes } from "./predicting";
export * from "./state";
export * from "./things";
