import assert from "node:assert/strict";
import { test } from "node:test";

import { CaptionViewer, asText } from "../../static/captions/viewer.js";
import { FakeWorld, error, final, gap, partial, room } from "./world.js";

const SERVER = "https://captions.example.com/";
const SOCKET = "wss://captions.example.com/api/rooms/keynote";

function following(options) {
  const world = new FakeWorld();
  const viewer = new CaptionViewer(SERVER, "keynote", { world, ...options });
  const states = [];
  viewer.addEventListener("state", () => states.push(viewer.state));
  viewer.follow();
  return { world, viewer, states, text: () => asText(viewer.transcript) };
}

test("who comes late reads what was said, then follows", () => {
  const { world, viewer, text } = following();
  assert.equal(world.socket.url, SOCKET);
  world.socket.open();
  world.socket.tell(room(), final(1, "One."), final(2, "Two."), partial(3, "thr"));
  assert.equal(viewer.state, "live");
  assert.equal(text(), "One.\nTwo.\nthr\n");
  world.socket.tell(final(3, "Three."));
  assert.equal(text(), "One.\nTwo.\nThree.\n");
});

test("a line that breaks comes back behind what is known, and every final is there once", async () => {
  const { world, states, text } = following();
  world.socket.tell(room(), final(1, "One."), partial(2, "tw"));
  world.socket.break(1006);
  await world.pass(0);
  assert.equal(world.socket.url, `${SOCKET}?after=e1%3A1`);
  world.socket.tell(room(), final(2, "Two."));
  assert.equal(text(), "One.\nTwo.\n");
  assert.deepEqual(states, ["live", "offline", "live"]);
});

test("another epoch is another counting: what was there is forgotten, and nothing is taken for known", async () => {
  const { world, text } = following();
  world.socket.tell(room(), final(1, "One."), final(2, "Two."));
  world.socket.break(1012);
  await world.pass(0);
  world.socket.tell(room({ epoch: "e2" }), final(1, "Anew."));
  assert.equal(text(), "Anew.\n");
  world.socket.break(1006);
  await world.pass(1);
  assert.equal(world.socket.url, `${SOCKET}?after=e2%3A1`);
});

test("what is lost is counted before the next final", () => {
  const { world, viewer } = following();
  world.socket.tell(room(), final(1, "One."), gap(2, 4), final(5, "Five."), final(6, "Six."));
  assert.deepEqual(viewer.transcript.lines.map(({ missing }) => missing), [0, 3, 0]);
});

test("a room that does not exist yet is looked for until somebody speaks", async () => {
  const { world, viewer, states, text } = following();
  for (let i = 0; i < 300; i++) {
    world.socket.tell(error("room.not_found"));
    world.socket.break(4504);
    await world.pass(9);
  }
  assert.deepEqual(states, ["waiting"]);
  assert.ok(world.sockets.length > 300);
  world.socket.tell(room(), final(1, "One."));
  assert.equal(viewer.state, "live");
  assert.equal(text(), "One.\n");
});

test("where nobody sees the page it looks seldom, and at once when somebody does", async () => {
  const { world } = following();
  world.isVisible = false;
  world.socket.tell(error("room.not_found"));
  world.socket.break(4504);
  await world.pass(30);
  assert.equal(world.sockets.length, 1);
  world.isVisible = true;
  world.events.dispatchEvent(new Event("visibilitychange"));
  await world.pass(0);
  assert.equal(world.sockets.length, 2);
});

test("a room that is over is looked at again and again, and says so all the time", async () => {
  const { world, states } = following();
  world.socket.tell(room(), final(1, "One."), partial(2, "t"), room({ live: false }));
  world.socket.break(1000);
  for (let i = 0; i < 5; i++) {
    await world.pass(9);
    world.socket.tell(room({ live: false }));
    world.socket.break(1000);
  }
  assert.deepEqual(states, ["live", "silent", "ended"]);
  await world.pass(9);
  assert.equal(world.socket.url, `${SOCKET}?after=e1%3A1`);
  world.socket.tell(room(), final(2, "Two."));
  assert.deepEqual(states, ["live", "silent", "ended", "live"]);
});

test("whoever sees the page again waits as long as the server asked for", async () => {
  const { world, viewer } = following();
  world.socket.tell(error("server.overloaded", { retry_after_s: 5 }));
  world.socket.break(1013);
  for (const event of ["visibilitychange", "online"]) world.events.dispatchEvent(new Event(event));
  await world.pass(4.9);
  assert.deepEqual([viewer.state, world.sockets.length], ["offline", 1]);
  await world.pass(0.1);
  assert.equal(world.sockets.length, 2);
});

test("two who speak at once grow each in a place of their own, and are final in the room's order", () => {
  const { world, text } = following();
  const of = (session, message) => ({ ...message, session });
  world.socket.tell(room(), of("s_a", partial(1, "I")), of("s_b", partial(1, "no")), of("s_a", partial(1, "I say")));
  assert.equal(text(), "I say\nno\n");
  world.socket.tell(of("s_b", final(1, "No.")), of("s_b", partial(2, "not")), of("s_a", partial(1, "I say so")));
  assert.equal(text(), "No.\nI say so\nnot\n");
  world.socket.tell({ ...of("s_a", final(2, "I say so.")), utterance: 1 });
  assert.equal(text(), "No.\nI say so.\nnot\n");
});

test("when nobody speaks any more no line goes on growing", () => {
  const { world, text } = following();
  world.socket.tell(room(), final(1, "One."), partial(2, "tw"), room({ live: false }));
  assert.equal(text(), "One.\n");
});

test("a line that ends well in mid-speech is a broken one", async () => {
  const { world, states } = following();
  world.socket.tell(room());
  world.socket.break(1000);
  assert.deepEqual(states, ["live", "offline"]);
});

test("a line that tells nothing for long is dead", async () => {
  const { world, viewer } = following();
  world.socket.tell(room());
  for (let i = 0; i < 9; i++) {
    await world.pass(45);
    world.socket.tell(room());
  }
  assert.equal(world.sockets.length, 1);
  await world.pass(50);
  assert.equal(viewer.state, "offline");
  assert.equal(world.sockets.length, 2);
});

test("a server that is away for hours is tried until it is back", async () => {
  const { world, viewer } = following();
  world.fetch = async () => {
    throw new TypeError("no network");
  };
  world.socket.tell(room());
  world.socket.break();
  while (world.time < 5 * 3_600_000) {
    const { length } = world.sockets;
    while (world.sockets.length === length) await world.pass(1);
    world.socket.break();
  }
  const { length } = world.sockets;
  while (world.sockets.length === length) await world.pass(1);
  world.socket.tell(room());
  assert.equal(viewer.state, "live");
});

test("what the server refuses for good is told once and not tried again", async () => {
  const { world, viewer } = following();
  const told = [];
  viewer.addEventListener("error", ({ detail }) => told.push(detail.code));
  world.socket.tell(room());
  world.socket.break();
  await world.pass(0);
  world.socket.tell(error("request.invalid"));
  world.socket.break(4500);
  await world.pass(100);
  world.events.dispatchEvent(new Event("online"));
  await world.pass(100);
  assert.deepEqual([viewer.state, told, world.sockets.length], ["trouble", ["request.invalid"], 2]);
});

test("who does not want the past is told what comes from now on", async () => {
  const { world } = following({ past: false });
  assert.equal(world.socket.url, `${SOCKET}?after=999999999999999`);
  world.socket.tell(room());
  world.socket.break();
  await world.pass(0);
  assert.equal(world.socket.url, `${SOCKET}?after=e1%3A999999999999999`);
  world.socket.tell(room(), final(38, "Thirty-eight."));
  world.socket.break();
  await world.pass(1);
  assert.equal(world.socket.url, `${SOCKET}?after=e1%3A38`);
});

test("who waited for a room misses nothing of it, wanting the past or not", async () => {
  const { world } = following({ past: false });
  world.socket.tell(error("room.not_found"));
  world.socket.break(4504);
  await world.pass(7);
  assert.equal(world.socket.url, SOCKET);
});

test("captions may be missing, and then not any more", () => {
  const { world, viewer } = following();
  const told = [];
  viewer.addEventListener("state", () => told.push(viewer.degraded));
  world.socket.tell(room(), room({ degraded: true }), room());
  assert.deepEqual(told, [false, true, false]);
});

test("an address that is none is told to who writes it", () => {
  for (const address of ["captions.example", "captions.example:8000", "/"]) {
    assert.throws(() => new CaptionViewer(address, "keynote", { world: new FakeWorld() }), TypeError, address);
  }
});

test("after leave nothing is told and nobody comes back", async () => {
  const { world, viewer, states, text } = following();
  world.socket.tell(room());
  viewer.leave();
  world.socket.tell(final(1, "One."));
  world.socket.break();
  await world.pass(100);
  assert.deepEqual([states, text(), world.sockets.length], [["live"], "", 1]);
});

// -- where WebSockets are blocked

test("where WebSockets are blocked it follows by a stream of events", async () => {
  const { world, viewer, text } = following();
  world.socket.break();
  await world.pass(0);
  assert.equal(world.stream.url, "https://captions.example.com/api/rooms/keynote/events");
  await world.stream.tell(room(), final(1, "Grüße."), partial(2, "tw"));
  assert.equal(viewer.state, "live");
  assert.equal(text(), "Grüße.\ntw\n");
  await world.stream.end();
  await world.pass(1);
  assert.equal(world.streams.length, 2, "a way that works is kept");
  assert.match(world.stream.url, /events\?after=e1%3A1$/);
});

test("however a stream is cut, the captions are the same", async () => {
  const { world, text } = following();
  world.socket.break();
  await world.pass(0);
  const [there, said] = [room(), final(1, "Grüße, 世界.")].map((message) => `data: ${JSON.stringify(message)}\n\n`);
  for (const byte of new TextEncoder().encode(`retry: 1000\n\n${there}:\n\nid: e1:1\n${said}`)) await world.stream.write(Uint8Array.of(byte));
  assert.equal(text(), "Grüße, 世界.\n");
});

test("a proxy that holds back what is said is left for the other way", async () => {
  const { world } = following();
  world.socket.break();
  await world.pass(0);
  await world.pass(9);
  assert.equal(world.stream.aborted, true);
  assert.equal(world.sockets.length, 2);
});

test("a refusal is understood in both ways", async () => {
  const { world, viewer } = following();
  world.socket.break();
  await world.pass(0);
  await world.stream.refuse(404, error("room.not_found").error);
  assert.equal(viewer.state, "waiting");
  await world.pass(7);
  assert.equal(world.streams.length, 2);
});

test("a stream that ends with a fault is not over", async () => {
  const { world, viewer } = following();
  world.socket.break();
  await world.pass(0);
  await world.stream.tell(room({ live: false }), error("server.draining"));
  await world.stream.end();
  assert.equal(viewer.state, "offline");
});
