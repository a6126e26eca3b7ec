import assert from "node:assert/strict";
import { test } from "node:test";

import { Comeback, passes, pause } from "../../static/captions/comeback.js";
import { FakeWorld } from "./world.js";

function knocking() {
  const world = new FakeWorld();
  const knocks = [];
  const comeback = new Comeback(() => knocks.push(world.time / 1000), world);
  return { world, knocks, comeback };
}

test("a server that was started anew is tried often, then the pauses grow to seven seconds, with jitter", () => {
  const pauses = [0, 1, 2, 15, 16, 19, 23, 30, 31, 99].map((attempt) => Number(pause(attempt, 0.5).toFixed(2)));
  assert.deepEqual(pauses, [0, 0.2, 0.2, 0.2, 0.25, 0.49, 1.19, 5.68, 7, 7]);
  assert.equal(pause(99, 0).toFixed(3), "5.600");
  assert.equal(pause(99, 1).toFixed(3), "8.400");
});

test("after ten minutes nobody knocks any more", async () => {
  const { world, knocks, comeback } = knocking();
  while (comeback.again()) await world.pass(7);
  assert.equal(world.time, 602_000);
  assert.equal(knocks.length, 86);
});

test("when the network is back nobody waits, whether or not the page is seen", async () => {
  const { world, knocks, comeback } = knocking();
  world.isVisible = false;
  for (let i = 0; i < 5; i++) comeback.again();
  world.events.dispatchEvent(new Event("online"));
  await world.pass(10);
  assert.deepEqual(knocks, [0]);
});

test("when the network is back nobody waits for an answer over the former one", async () => {
  const { world, knocks, comeback } = knocking();
  world.events.dispatchEvent(new Event("online"));
  await world.pass(1);
  comeback.again();
  await world.pass(1);
  for (const event of ["visibilitychange", "online"]) world.events.dispatchEvent(new Event(event));
  await world.pass(1);
  world.events.dispatchEvent(new Event("online"));
  comeback.up(); // it was heard after all
  world.events.dispatchEvent(new Event("online"));
  await world.pass(10);
  assert.deepEqual(knocks, [1, 2]);
});

test("whoever comes back to the page does not wait; whoever leaves it changes nothing", async () => {
  const { world, knocks, comeback } = knocking();
  comeback.again(0, 5);
  world.isVisible = false;
  world.events.dispatchEvent(new Event("visibilitychange"));
  await world.pass(1);
  assert.deepEqual(knocks, []);
  world.isVisible = true;
  world.events.dispatchEvent(new Event("visibilitychange"));
  await world.pass(10);
  assert.deepEqual(knocks, [1]);
});

test("a line that held begins from no pause; one that did not goes on with its pauses", async () => {
  const { world, knocks, comeback } = knocking();
  comeback.again();
  await world.pass(0);
  comeback.up();
  await world.pass(1);
  comeback.again();
  await world.pass(1);
  comeback.up();
  await world.pass(5);
  comeback.again();
  await world.pass(0);
  assert.deepEqual(knocks, [0, 1.2, 7]);
});

test("the server may ask for a longer pause, which nothing shortens", async () => {
  const { world, knocks, comeback } = knocking();
  comeback.again(5);
  for (let i = 0; i < 9; i++) {
    for (const event of ["visibilitychange", "online"]) world.events.dispatchEvent(new Event(event));
    await world.pass(0.5);
  }
  assert.deepEqual(knocks, []);
  await world.pass(9);
  assert.deepEqual(knocks, [5]);
});

test("the close code says whether to come back", () => {
  for (const code of [1001, 1006, 1011, 1012, 1013, 4000, 4031, 4499]) assert.ok(passes(code), String(code));
  for (const code of [1000, 1002, 1005, 1008, 1009, 4500, 4509, 4999]) assert.ok(!passes(code), String(code));
});
