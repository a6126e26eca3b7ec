import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { cues } from "../../static/captions/cues.js";

/** Shared with tests/speech/test_cues.py. */
const CASES = JSON.parse(readFileSync(new URL("../cues.json", import.meta.url), "utf8"));

for (const { name, finals, cues: expected } of CASES) test(name, () => assert.deepEqual(cues(finals), expected));
