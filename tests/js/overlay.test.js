import assert from "node:assert/strict";
import { test } from "node:test";

import { readOptions } from "../../static/overlay_options.js";
import { paragraphs } from "../../static/rollup.js";

const COLOURS = new Set(["white", "#ffcc00", "#000c", "rgb(0 0 0 / 0.5)"]);
const options = (query) => readOptions(new URLSearchParams(query), (property, value) => COLOURS.has(value));
const line = (utterance, start, end, text = "Words.", session = "s_a") => ({ session, utterance, start, end, text });
const numbers = (lines) => paragraphs(lines).map((paragraph) => paragraph.map(({ utterance }) => utterance));

test("without options it is two lines at the bottom, which go after ten seconds of silence", () => {
  const { styles, ...others } = options("room=keynote");
  assert.deepEqual(others, { lines: 2, hide_s: 10, settled: false, position: "bottom", align: "start" });
  assert.deepEqual(styles, { "--lines": "2" });
});

test("the address may choose", () => {
  const query = "lines=3&size=48&colour=white&background=rgb(0 0 0 / 0.5)&position=top&align=center&hide=0&settled=1";
  const { styles, ...others } = options(query);
  assert.deepEqual(others, { lines: 3, hide_s: 0, settled: true, position: "top", align: "center" });
  assert.deepEqual(styles, { "--lines": "3", "--size": "48px", "--colour": "white", "--ground": "rgb(0 0 0 / 0.5)" });
});

test("a colour may be written without #, and in American", () => {
  assert.deepEqual(options("color=ffcc00&background=000c").styles, {
    "--lines": "2",
    "--colour": "#ffcc00",
    "--ground": "#000c",
  });
});

test("what is not understood is as if it were not there, and numbers have bounds", () => {
  assert.deepEqual(options("lines=x&size=1e3&colour=url(//x)&background=red;&position=x&align=&hide=-1"), options(""));
  assert.equal(options("lines=99").lines, 10);
  assert.equal(options("lines=0").lines, 1);
  assert.equal(options("size=9999").styles["--size"], "400px");
});

test("one sentence follows the other on the same line", () => {
  assert.deepEqual(numbers([line(1, 0, 2), line(2, 2.5, 4), line(3, 4, 6)]), [[1, 2, 3]]);
});

test("what comes after a pause, or from somebody else, begins a line", () => {
  assert.deepEqual(numbers([line(1, 0, 2), line(2, 5, 6), line(1, 5, 6, "No.", "s_b"), line(3, 6, 7)]), [[1], [2], [1], [3]]);
});

test("where somebody speaks without a pause a line begins now and then, and stays where it began", () => {
  const long = Array.from({ length: 20 }, (_, i) => line(i + 1, i, i + 1, "x".repeat(150)));
  assert.deepEqual(numbers(long).slice(0, 3), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
  for (const at of long.keys()) {
    const before = numbers(long.slice(0, at));
    assert.deepEqual(numbers(long).slice(0, Math.max(0, before.length - 1)), before.slice(0, -1));
  }
});
