import { describe, expect, test } from "vitest";
import {
  activeThing,
  addThing,
  amend,
  type Candidate,
  changeThing,
  DEPTH,
  type Document,
  edit,
  findThing,
  newDocument,
  newHistory,
  type Prompts,
  redo,
  removeThing,
  settle,
  thingColour,
  thingMask,
  thingRle,
  undo,
} from "./annotations";
import { area, emptyMask } from "./mask";
import { encode } from "./rle";

const [WIDTH, HEIGHT] = [20, 10];

/** A mask of the first columns. */
function candidate(columns: number, score = 0.9): Candidate {
  const mask = emptyMask(WIDTH, HEIGHT);
  mask.data.forEach((_, at) => {
    if (at % WIDTH < columns) mask.data[at] = 1;
  });
  return { rle: encode(mask), score };
}

const click = (x: number): Prompts => ({ points: [{ x, y: 1, label: 1 }], box: null });
const names = (document: Document) => document.things.map((thing) => thing.name);

describe("things", () => {
  test("get numbers, colours and the last name, and become active", () => {
    let document = addThing(newDocument(WIDTH, HEIGHT));
    document = addThing(document, { name: "cat" });
    document = addThing(document);
    expect(names(document)).toEqual(["object", "cat", "cat"]);
    expect(document.things.map((thing) => thing.id)).toEqual([1, 2, 3]);
    expect(new Set(document.things.map((thing) => thing.colour)).size).toBe(3);
    expect(activeThing(document)?.id).toBe(3);
    document = removeThing(document, 3);
    expect(document.active).toBeNull();
    expect(removeThing(document, 9).things).toEqual(document.things);
    document = addThing(document);
    expect(document.things.map((thing) => thing.id)).toEqual([1, 2, 4]); // numbers never come back
  });

  test("change without touching the others, or the state before", () => {
    const before = addThing(addThing(newDocument(WIDTH, HEIGHT)));
    const after = changeThing(before, 2, { name: "dog" });
    expect(names(before)).toEqual(["object", "object"]);
    expect(names(after)).toEqual(["object", "dog"]);
    expect(after.things[0]).toBe(before.things[0]);
    expect(changeThing(before, 7, { name: "dog" })).toBe(before);
    expect(findThing(after, null)).toBeUndefined();
  });

  test("the first 24 colours are those of evsam/overlay.py", () => {
    const parts = (colour: string) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
    [0, 1, 2, 8, 16, 23].forEach((index, place) => {
      const [ours, theirs] = [parts(thingColour(index)), parts(COLOURS[place]!)];
      for (const [at, part] of ours.entries()) expect(Math.abs(part - theirs[at]!)).toBeLessThanOrEqual(1); // rounding
    });
    expect(new Set(Array.from({ length: 24 }, (_, index) => thingColour(index))).size).toBe(24);
  });
});

// [mask_colour(index) for index in (0, 1, 2, 8, 16, 23)]
const COLOURS = ["#1f93ff", "#d5ff1f", "#e81fff", "#80ecff", "#09b292", "#8b09b2"];

describe("masks of things", () => {
  test("are the chosen candidate's, with what the brush did on top", () => {
    let document = addThing(newDocument(WIDTH, HEIGHT), { candidates: [candidate(3), candidate(5)], chosen: 1 });
    expect(thingRle(document, document.things[0]!)).toBe(document.things[0]!.candidates[1]!.rle);
    const add = { points: [[10.5, 5.5]], radius: 0.4, erase: false } as const;
    const take = { points: [[0.5, 0.5]], radius: 0.4, erase: true } as const;
    document = changeThing(document, 1, { strokes: [add, take] });
    const mask = thingMask(document, document.things[0]!);
    expect(area(mask)).toBe(50);
    expect([mask.data[5 * WIDTH + 10], mask.data[0]]).toEqual([1, 0]);
    expect(area(thingMask(changeThing(document, 1, { chosen: 0 }), { ...document.things[0]!, chosen: 0 }))).toBe(30);
    expect(thingRle(document, { ...document.things[0]!, name: "renamed" })).toBe(
      thingRle(document, document.things[0]!),
    );
  });

  test("are empty without an answer, or what the brush alone drew", () => {
    let document = addThing(newDocument(WIDTH, HEIGHT), { prompts: click(2) });
    expect(area(thingMask(document, document.things[0]!))).toBe(0);
    document = changeThing(document, 1, { strokes: [{ points: [[4, 4]], radius: 1, erase: false }] });
    expect(area(thingMask(document, document.things[0]!))).toBe(4);
    expect(thingRle(document, document.things[0]!)).toBe(thingRle(document, document.things[0]!));
  });
});

describe("undo and redo", () => {
  test("go there and back, and a change forgets what could be redone", () => {
    const empty = newDocument(WIDTH, HEIGHT);
    let history = newHistory(empty);
    expect(undo(history)).toBe(history);
    expect(redo(history)).toBe(history);
    history = edit(history, addThing(empty, { name: "a" }));
    history = edit(history, addThing(history.present, { name: "b" }));
    const all = history.present;
    history = undo(history);
    expect(names(history.present)).toEqual(["a"]);
    history = undo(history);
    expect(history.present).toBe(empty);
    history = redo(redo(history));
    expect(history.present).toBe(all);
    history = edit(undo(history), addThing(undo(history).present, { name: "c" }));
    expect(names(history.present)).toEqual(["a", "c"]);
    expect(redo(history)).toBe(history);
    expect(edit(history, history.present)).toBe(history);
  });

  test("changes that belong together are one step", () => {
    let history = newHistory(addThing(newDocument(WIDTH, HEIGHT)));
    for (const name of ["c", "ca", "cat"]) history = edit(history, changeThing(history.present, 1, { name }), "name 1");
    history = edit(history, changeThing(history.present, 1, { chosen: 2 }), "slider 1");
    history = edit(history, changeThing(history.present, 1, { name: "cats" }), "name 1");
    expect(history.past).toHaveLength(3);
    expect(names(undo(history).present)).toEqual(["cat"]);
    expect(names(undo(undo(undo(history))).present)).toEqual(["object"]);
    const again = edit(undo(history), changeThing(undo(history).present, 1, { name: "dog" }), "name 1");
    expect(names(undo(again).present)).toEqual(["cat"]); // what follows an undo is a step of its own
  });

  test("which thing is active is no step", () => {
    const history = edit(newHistory(newDocument(WIDTH, HEIGHT)), addThing(newDocument(WIDTH, HEIGHT)));
    const other = amend(history, { ...history.present, active: null });
    expect(other.past).toBe(history.past);
    expect(undo(other).present).toBe(history.past[0]);
  });

  test("has an end", () => {
    let history = newHistory(newDocument(WIDTH, HEIGHT));
    for (let step = 0; step < DEPTH + 5; ++step) history = edit(history, { ...history.present, next: step + 2 });
    expect(history.past).toHaveLength(DEPTH);
    expect(history.past[0]!.next).toBe(6);
  });
});

describe("answers that arrive later", () => {
  const prompts = click(3);
  const begun = edit(newHistory(newDocument(WIDTH, HEIGHT)), addThing(newDocument(WIDTH, HEIGHT), { prompts }));
  const answer = [candidate(2, 0.5), candidate(4, 0.8), candidate(6, 0.7)];

  test("go to all states with those prompts, whatever was done since", () => {
    let history = edit(begun, changeThing(begun.present, 1, { name: "cat" }));
    history = edit(history, changeThing(history.present, 1, { prompts: click(5) }));
    history = settle(history, 1, prompts, answer);
    expect(history.present.things[0]!.candidates).toEqual([]); // it waits for other prompts' answer
    const before = undo(history);
    expect(before.present.things[0]).toMatchObject({ name: "cat", candidates: answer, chosen: 1 });
    expect(undo(before).present.things[0]).toMatchObject({ name: "object", candidates: answer, chosen: 1 });
    expect(redo(undo(undo(history))).present.things[0]!.candidates).toBe(answer);
  });

  test("reach states that were undone, and prompts that only look the same get nothing", () => {
    expect(redo(settle(undo(begun), 1, prompts, answer)).present.things[0]!.candidates).toBe(answer);
    expect(settle(begun, 1, click(3), answer).present).toBe(begun.present);
    expect(settle(begun, 2, prompts, answer).present).toBe(begun.present);
    expect(settle(begun, 1, prompts, answer, 2).present.things[0]!.chosen).toBe(2);
  });

  test("states go on sharing things", () => {
    const history = edit(begun, addThing(begun.present));
    const settled = settle(history, 1, prompts, answer);
    expect(settled.past[1]!.things[0]).toBe(settled.present.things[0]);
  });
});
