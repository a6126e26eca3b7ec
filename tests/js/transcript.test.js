import assert from "node:assert/strict";
import { test } from "node:test";

import { EMPTY, asText, parts, reduce } from "../../static/captions/transcript.js";
import { final, partial } from "./world.js";

const text = (...messages) => asText([{ type: "take" }, ...messages].reduce(reduce, EMPTY));

test("a partial replaces the former one, and a final replaces the line", () => {
  assert.equal(text(partial(1, "hello"), partial(1, "hello wor")), "hello wor\n");
  assert.equal(text(partial(1, "hello wor"), final(1, "Hello world.")), "Hello world.\n");
});

test("a late partial never replaces a final", () => {
  assert.equal(text(final(1, "Hello."), partial(1, "yellow")), "Hello.\n");
});

test("finals that are told again after a resume are there once", () => {
  const finals = [final(1, "One."), final(2, "Two."), final(3, "Three.")];
  const again = { ...finals[1], utterance: 9 }; // whatever number it has: the offset counts
  assert.equal(text(...finals.slice(0, 2), again, ...finals), "One.\nTwo.\nThree.\n");
});

test("a growing line that the resumed session cut otherwise does not stay", () => {
  assert.equal(text(partial(1, "one"), partial(2, "two"), final(3, "One two.")), "One two.\n");
  assert.equal(text(final(1, "One."), partial(2, "two"), { type: "done" }), "One.\n");
});

test("a new session begins to count again, behind what was final", () => {
  assert.equal(text(final(1, "One."), { type: "anew" }, final(1, "Two.")), "One.\nTwo.\n");
});

test("what was growing is said again in the new session, and stays until it is", () => {
  const before = [final(1, "One."), partial(2, "two"), partial(3, "thr"), { type: "anew" }];
  assert.equal(text(...before), "One.\ntwo\nthr\n");
  for (const next of [partial, final]) assert.equal(text(...before, next(1, "Two")), "One.\nTwo\n");
  assert.equal(text(...before, partial(1, "two"), partial(2, "three")), "One.\ntwo\nthree\n");
  assert.equal(text(...before, { type: "done" }), "One.\n");
});

test("what was growing and is not said again before the take ends is there once", () => {
  const before = [final(1, "One."), partial(2, "two"), { type: "anew" }];
  assert.equal(text(...before, { type: "whole", finals: [] }), "One.\ntwo\n");
  assert.equal(text(...before, { type: "take" }, partial(1, "again")), "One.\ntwo\n\nagain\n");
});

test("the text of the whole recording replaces its take in all its sessions", () => {
  const before = [{ type: "take" }, final(1, "Before."), { type: "take" }, final(1, "a")];
  const whole = { type: "whole", finals: [final(1, "A. B.")] };
  const after = [...before, { type: "anew" }, final(1, "b"), whole].reduce(reduce, EMPTY);
  assert.equal(asText(after), "Before.\n\nA. B.\n");
});

test("an empty text of the whole recording takes nothing away", () => {
  assert.equal(text(partial(1, "hello"), { type: "whole", finals: [] }), "hello\n");
});

test("a message changes a copy, or nothing at all", () => {
  const before = reduce(EMPTY, final(1, "One."));
  const frozen = structuredClone(before);
  reduce(before, final(2, "Two."));
  assert.deepEqual(before, frozen);
  assert.equal(reduce(before, { type: "ready" }), before);
});

test("stable counts characters as the server does", () => {
  assert.deepEqual(parts({ final: false, text: "𝄞 piano forte", stable: 7 }), ["𝄞 piano", " forte"]);
});
