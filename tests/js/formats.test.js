import assert from "node:assert/strict";
import { test } from "node:test";

import { asJson, asSrt, asVtt } from "../../static/captions/formats.js";
import { EMPTY, reduce } from "../../static/captions/transcript.js";

const timed = (offset, start, end, text) => ({ type: "final", utterance: offset, offset, start, end, text, words: [] });
const transcript = (...messages) => [{ type: "take" }, ...messages].reduce(reduce, EMPTY);

test("subtitles are numbered, and what has a meaning in WebVTT is escaped", () => {
  const said = transcript(timed(1, 0.5, 2, "Tom & Jerry."), timed(2, 3661.25, 3663, "1 < 2"));
  assert.equal(
    asSrt(said),
    "1\n00:00:00,500 --> 00:00:02,000\nTom & Jerry.\n\n2\n01:01:01,250 --> 01:01:03,000\n1 < 2\n",
  );
  assert.equal(
    asVtt(said),
    "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\nTom &amp; Jerry.\n\n01:01:01.250 --> 01:01:03.000\n1 &lt; 2\n",
  );
});

test("what still grows is not in a file", () => {
  const said = transcript(timed(1, 0, 1, "One."), { type: "partial", utterance: 2, start: 1, end: 2, text: "tw" });
  assert.equal(asSrt(said).includes("tw"), false);
  assert.equal(JSON.parse(asJson(said)).transcript, "One.");
});

test("a second take comes behind the first, although its time line begins again", () => {
  const word = { text: "Two.", start: 0.5, end: 1.5 };
  const said = transcript(timed(1, 0, 2, "One."), { type: "take" }, { ...timed(1, 0.5, 1.5, "Two."), words: [word] });
  assert.match(asVtt(said), /00:00:02\.500 --> 00:00:03\.500\nTwo\.\n/);
  const { duration, segments, words } = JSON.parse(asJson(said));
  assert.deepEqual(words, [{ text: "Two.", start: 2.5, end: 3.5 }]);
  assert.deepEqual([duration, segments[1]], [3.5, { start: 2.5, end: 3.5, text: "Two." }]);
});

test("nothing said is an empty file of its kind", () => {
  assert.deepEqual([asSrt(EMPTY), asVtt(EMPTY), JSON.parse(asJson(EMPTY)).segments], ["", "WEBVTT\n", []]);
});
