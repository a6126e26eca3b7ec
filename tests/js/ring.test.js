import assert from "node:assert/strict";
import { test } from "node:test";

import { BEGINNING, Ring } from "../../static/captions/ring.js";

function ring(...chunks) {
  const made = new Ring();
  for (const chunk of chunks) made.add(new Blob([chunk]));
  return made;
}

async function read(pieces) {
  return pieces && (await Promise.all(pieces.map(async ({ recording, data }) => `${recording}:${await data.text()}`)));
}

test("a session goes on behind the header at the very byte, wherever the chunks were cut", async () => {
  const kept = ring("HH", "Habc", "defg", "hi");
  for (let bytes = 3; bytes <= 12; bytes++) {
    const place = { recording: 0, bytes, header: 3 };
    kept.trim(place);
    const told = (await read(kept.from(place))).map((piece) => piece.slice(2)).join("");
    assert.equal(told, "HHH" + "HHHabcdefghi".slice(bytes));
  }
  assert.equal(kept.bytes, 0);
});

test("what is acknowledged is not held, except the header", async () => {
  const kept = ring("HHHabc", "def", "ghi");
  kept.trim({ recording: 0, bytes: 9, header: 3 });
  assert.equal(kept.bytes, 3);
  assert.equal(kept.from(BEGINNING), null);
  assert.equal(kept.from({ recording: 0, bytes: 7, header: 3 }), null);
  assert.deepEqual(await read(kept.from({ recording: 0, bytes: 10, header: 3 })), ["0:HHH", "0:hi"]);
});

test("a second recording follows the first, and its acknowledgement lets the first go", async () => {
  const kept = ring("HHHabc");
  kept.next();
  kept.add(new Blob(["KKKdef"]));
  assert.deepEqual(await read(kept.from({ recording: 0, bytes: 5, header: 3 })), ["0:HHH", "0:c", "1:KKKdef"]);
  kept.trim({ recording: 1, bytes: 4, header: 3 });
  assert.equal(kept.from({ recording: 0, bytes: 6, header: 3 }), null);
  assert.deepEqual(await read(kept.from({ recording: 1, bytes: 4, header: 3 })), ["1:KKK", "1:ef"]);
});

test("a new session gets header and rest, counted from 0 again", async () => {
  const kept = ring("HHHabc", "def");
  kept.trim({ recording: 0, bytes: 5, header: 3 });
  const anew = kept.anew();
  anew.next();
  anew.add(new Blob(["KKK"]));
  assert.deepEqual(await read(anew.from(BEGINNING)), ["0:HHH", "0:c", "0:def", "1:KKK"]);
  assert.deepEqual(await read(anew.from({ recording: 0, bytes: 4, header: 3 })), ["0:HHH", "0:def", "1:KKK"]);
});

test("a new session after the second recording counts it as its first", async () => {
  const kept = ring("HHHabc");
  kept.next();
  kept.add(new Blob(["KKKdef"]));
  kept.trim({ recording: 1, bytes: 5, header: 3 });
  assert.deepEqual(await read(kept.anew().from(BEGINNING)), ["0:KKK", "0:f"]);
});

test("at most 4 MB are held, and what is gone is never sent with a hole", async () => {
  const kept = ring();
  const megabyte = "x".repeat(2 ** 20);
  for (let i = 0; i < 4; i++) kept.add(new Blob([megabyte]));
  assert.equal((await read(kept.from(BEGINNING))).length, 4);
  kept.add(new Blob(["y"]));
  assert.equal(kept.bytes, 3 * 2 ** 20 + 1);
  assert.equal(kept.from(BEGINNING), null);
  assert.equal(kept.anew(), null);
  assert.equal(kept.from({ recording: 0, bytes: 2 ** 20, header: 3 }).length, 5);
});

test("a piece that is too long for it is not held, and what follows is", async () => {
  const kept = ring("HHHabc");
  kept.add(new Blob(["x".repeat(2 ** 22 + 1)]));
  kept.add(new Blob(["def"]));
  assert.equal(kept.bytes, 3);
  assert.equal(kept.from({ recording: 0, bytes: 6, header: 3 }), null);
  assert.deepEqual(await read(kept.from({ recording: 0, bytes: 6 + 2 ** 22 + 1, header: 3 })), ["0:HHH", "0:def"]);
});
