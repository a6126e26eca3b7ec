import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { CaptionClient, DISPLAY, asText } from "../../static/captions/client.js";
import { DONE, FakeWorld, READY, ack, error, final, partial, resumed, settled, spoken } from "./world.js";

/** A client that speaks: the microphone is open, the socket is there, the server is ready. */
async function speaking({ tickets = true, language = "", token = "" } = {}) {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world, language, token });
  const states = [];
  const notices = [];
  client.addEventListener("state", ({ detail }) => states.push(detail));
  for (const type of ["notice", "error"]) client.addEventListener(type, ({ detail }) => notices.push(detail.code));
  await client.start();
  world.socket.open();
  world.socket.tell(READY, ...(tickets ? [{ type: "ack", ...ack(0, "t0") }] : []));
  const said = () => asText(client.transcript).trim();
  return { world, client, states, notices, said };
}

/** The line breaks; the client knocks, and the new socket is open. */
async function comeBack(world, code = 1006) {
  world.socket.break(code);
  await world.pass(1.2); // the third pause
  world.socket.open();
}

test("from the microphone to the last word", async () => {
  const { world, client, states, said } = await speaking({ language: "de" });
  assert.equal(world.socket.url, "wss://captions.example/api/captions?language=de");
  world.recorder.hear("HHHabc");
  world.socket.tell(partial(1, "hello wor"));
  assert.equal(said(), "hello wor");
  client.stop();
  await settled();
  world.socket.tell(final(1, "Hello world.", ack(6, "t1")), DONE);
  assert.equal(said(), "Hello world.");
  assert.equal(await world.socket.story(), "«HHHabc» stop");
  assert.deepEqual(states, ["asking", "connecting", "listening", "finishing", "done"]);
  assert.equal(world.recorder.stream.track.readyState, "ended");
});

test("what is said before the socket opens is sent first", async () => {
  const world = new FakeWorld();
  await new CaptionClient("https://captions.example/", { world }).start();
  world.recorder.hear("HHHabc");
  world.socket.open();
  world.recorder.hear("def");
  assert.equal(await world.socket.story(), "«HHHabcdef»");
});

test("a token goes along in the subprotocols and with the upload, and into no address", async () => {
  const { world, client } = await speaking({ tickets: false, token: "token.9.x" });
  assert.deepEqual(world.socket.protocols, ["bearer", "token.9.x"]);
  world.recorder.hear("HHHabc");
  world.socket.break();
  client.stop();
  await settled();
  assert.equal(world.request.headers.Authorization, "Bearer token.9.x");
  assert.ok(!world.socket.url.includes("token"));
});

test("without a token none is offered", async () => {
  const { world } = await speaking();
  assert.deepEqual(world.socket.protocols, []);
});

test("a token that has expired is told at once: the same one is of no use a second time", async () => {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world, token: "token.9.x" });
  const errors = [];
  client.addEventListener("error", ({ detail }) => errors.push(detail.code));
  await client.start();
  world.socket.open();
  world.socket.tell(error("auth.expired"));
  world.socket.break(4001);
  await world.pass(60);
  assert.deepEqual([client.state, errors, world.sockets.length], ["trouble", ["auth.expired"], 1]);
});

test("a line that breaks in mid-sentence goes on at the byte the server names, each word once", async () => {
  const { world, states, said } = await speaking();
  world.recorder.hear("HHHabc");
  world.recorder.hear("def");
  world.socket.tell(final(1, "One.", ack(6, "t1")), partial(2, "tw"));
  world.socket.break();
  world.recorder.hear("ghi");
  await world.pass(0);
  world.socket.open();
  world.recorder.hear("jkl");
  assert.deepEqual(world.socket.said, [{ type: "resume", ticket: "t1" }]);
  world.socket.tell(final(1, "One."), final(2, "Two.", ack(8, "t2")), resumed({ ...ack(8), offset: 2 }));
  world.recorder.hear("mno");
  world.socket.tell(partial(3, "thr"));
  assert.equal(await world.socket.story(), "resume «HHHfghijklmno»");
  assert.equal(said(), "One.\nTwo.\nthr");
  assert.deepEqual(states, ["asking", "connecting", "listening", "offline", "listening"]);
});

test("the newest ticket is shown, wherever it came from", async () => {
  const { world } = await speaking();
  world.socket.tell({ type: "ack", ...ack(0, "alone") });
  await comeBack(world);
  world.socket.tell(resumed(ack(0)), final(1, "One.", ack(0, "inside")));
  await comeBack(world);
  world.socket.tell(resumed(ack(0)), { type: "reconnect", reason: "draining", ticket: "goodbye" });
  await comeBack(world, 1012);
  const shown = world.sockets.slice(1).map(({ said }) => said[0].ticket);
  assert.deepEqual(shown, ["alone", "inside", "goodbye"]);
});

test("a server that dies during the resume is asked again", async () => {
  const { world, client } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.tell(final(1, "One.", ack(6, "t1")));
  await comeBack(world);
  world.socket.break(1011);
  await world.pass(0.3);
  world.recorder.hear("def");
  world.socket.open();
  world.socket.tell(resumed(ack(6)));
  assert.equal(await world.socket.story(), "resume «HHHdef»");
  assert.equal(client.state, "listening");
});

test("a session that breaks before its first ticket begins again with the first byte", async () => {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world });
  await client.start();
  world.socket.open();
  world.socket.tell({ ...READY, limits: { resume_s: 600 } });
  world.recorder.hear("HHHabc");
  await comeBack(world);
  assert.equal(await world.socket.story(), "«HHHabc»");
  world.socket.tell({ ...READY, limits: { resume_s: 600 } });
  assert.equal(client.state, "listening");
});

test("the line is not up before the server said where to go on", async () => {
  const { world, client } = await speaking();
  await comeBack(world);
  world.socket.tell(READY, { type: "ack", ...ack(0, "t1") });
  assert.equal(client.state, "offline");
  await world.pass(8);
  await world.pass(1.2);
  assert.equal(world.sockets.length, 3);
  world.socket.open();
  assert.deepEqual(world.socket.said, [{ type: "resume", ticket: "t1" }]);
  world.socket.tell(READY, resumed(ack(0)));
  assert.equal(client.state, "listening");
});

test("an attempt that hangs since before the network was back is made anew at once", async () => {
  const { world, client } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.break();
  await world.pass(3);
  assert.equal(world.sockets.length, 2);
  world.events.dispatchEvent(new Event("online"));
  await world.pass(0);
  assert.deepEqual(world.sockets.map(({ readyState }) => readyState), [3, 3, 0]);
  world.socket.open();
  world.socket.tell(resumed(ack(0)));
  await world.pass(9);
  assert.equal(await world.socket.story(), "resume «HHHabc»");
  assert.deepEqual([client.state, world.sockets.length], ["listening", 3]);
});

test("a server that never answers the resume is asked again, and what it says later is not heard", async () => {
  const { world, said } = await speaking();
  await comeBack(world);
  const [, silent] = world.sockets;
  await world.pass(8);
  assert.equal(silent.readyState, 3);
  await world.pass(0.3);
  assert.equal(world.sockets.length, 3);
  silent.tell(resumed(ack(0)), final(1, "Ghost."));
  silent.break();
  assert.equal(said(), "");
  assert.equal(world.sockets.length, 3);
});

for (const code of ["resume.expired", "request.invalid"]) {
  test(`a refused ticket (${code}) begins a new session with all that was not acknowledged, and says so`, async () => {
    const { world, notices, said } = await speaking();
    world.recorder.hear("HHHabc");
    world.socket.tell(final(1, "One.", ack(5, "t1")), partial(2, "tw"));
    await comeBack(world);
    world.socket.tell(error(code));
    await comeBack(world, code === "resume.expired" ? 4031 : 4500);
    world.recorder.hear("def");
    world.socket.tell(READY, { type: "ack", ...ack(0, "n0") });
    assert.equal(said(), "One.\ntw");
    world.socket.tell(final(1, "Two."));
    assert.equal(await world.socket.story(), "«HHHcdef»");
    assert.equal(said(), "One.\nTwo.");
    assert.deepEqual(notices, ["live.anew"]);
    await comeBack(world);
    assert.deepEqual(world.socket.said, [{ type: "resume", ticket: "n0" }]);
  });
}

test("when too much is missing for a session, the whole recording is sent at stop", async () => {
  const { world, client, notices, said } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.tell(final(1, "One.", ack(6, "t1")));
  await comeBack(world);
  for (let i = 0; i < 5; i++) world.recorder.hear("x".repeat(2 ** 20));
  world.socket.tell(resumed(ack(6)));
  assert.equal(client.state, "recording");
  assert.deepEqual(notices, ["live.lost"]);
  client.stop();
  await settled();
  assert.equal(world.posted[0].size, 6 + 5 * 2 ** 20);
  assert.equal(said(), "the whole text");
});

test("a pause may last longer than any break: what was said before it is still there", async () => {
  const { world, client, notices } = await speaking();
  world.recorder.hear("HHHabc");
  client.pause();
  for (let i = 0; i < 100; i++) {
    await world.pass(10);
    world.socket.tell({ type: "ack", ...ack(4, "t1") });
  }
  client.resume();
  world.recorder.hear("def");
  await comeBack(world);
  world.socket.tell(resumed(ack(4)));
  assert.equal(await world.socket.story(), "resume «HHHbcdef»");
  assert.deepEqual([client.state, notices], ["listening", []]);
});

test("a piece that is too long to be kept is sent, and so is what follows", async () => {
  const { world, client } = await speaking();
  world.recorder.hear("x".repeat(2 ** 22 + 1));
  world.recorder.hear("def");
  assert.deepEqual(world.socket.said.map(({ size }) => size), [2 ** 22 + 1, 3]);
  assert.equal(client.state, "listening");
});

test("a line that stays down for ten minutes is given up, and the recording goes on", async () => {
  const { world, client } = await speaking();
  for (let i = 0; i < 700 && client.state !== "recording"; i++) {
    if (world.socket.readyState === 0) world.socket.break();
    if (i === 0) world.socket.break();
    await world.pass(1);
  }
  assert.equal(client.state, "recording");
  assert.ok(world.time > 590_000 && world.time < 620_000, String(world.time));
  assert.equal(world.recorder.state, "recording");
});

test("how long the line is down can be told", async () => {
  const { world, client } = await speaking();
  assert.equal(client.down_s, 0);
  world.socket.break();
  await world.pass(12);
  assert.equal(client.down_s, 12);
  world.events.dispatchEvent(new Event("online"));
  await world.pass(0);
  world.socket.open();
  world.socket.tell(resumed(ack(0)));
  assert.equal(client.down_s, 0);
});

test("stopped while the line is down, the last words come when it is back", async () => {
  const { world, client, states, said } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.break();
  client.stop();
  await settled();
  assert.equal(client.state, "stranded");
  await world.pass(0.3);
  world.socket.open();
  world.socket.tell(resumed(ack(0)));
  assert.equal(await world.socket.story(), "resume «HHHabc» stop");
  world.socket.tell(final(1, "Hello.", ack(6, "t1")), DONE);
  assert.equal(said(), "Hello.");
  assert.deepEqual(states.slice(-4), ["offline", "stranded", "finishing", "done"]);
  assert.deepEqual(world.posted, []);
});

test("whoever does not wait for the line keeps the words, and may send the recording", async () => {
  const { world, client, notices, said } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.tell(partial(1, "hello"));
  world.socket.break();
  client.stop();
  await settled();
  client.stopWaiting();
  assert.equal(said(), "hello");
  assert.deepEqual(notices, ["waiting.stopped"]);
  await world.pass(60);
  assert.equal(world.sockets.length, 1);
  await client.upload();
  assert.equal(said(), "the whole text");
  assert.equal(client.state, "done");
});

test("a server that knows no tickets is not asked again, and gets the whole recording at stop", async () => {
  const { world, client, notices, said } = await speaking({ tickets: false });
  world.recorder.hear("HHHabc");
  world.socket.tell(final(1, "Hel."));
  world.socket.break(1011);
  assert.equal(client.state, "recording");
  world.recorder.hear("def");
  await world.pass(60);
  assert.equal(world.sockets.length, 1);
  client.stop();
  await settled();
  assert.equal(await world.posted[0].text(), "HHHabcdef");
  assert.equal(said(), "the whole text");
  assert.deepEqual(notices, ["live.lost"]);
});

test("a server without a place is asked again, with all that was said meanwhile", async () => {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world });
  await client.start();
  world.recorder.hear("HHHabc");
  world.socket.open();
  world.socket.tell(error("quota.sessions", { retry_after_s: 5 }));
  world.socket.break(4030);
  assert.equal(client.state, "offline");
  world.recorder.hear("def");
  await world.pass(4.9);
  assert.equal(world.sockets.length, 1);
  await world.pass(0.1);
  world.socket.open();
  world.socket.tell(READY);
  assert.equal(await world.socket.story(), "«HHHabcdef»");
  assert.equal(client.state, "listening");
});

test("a network without WebSockets is told, and not asked again", async () => {
  const world = new FakeWorld();
  const asked = [];
  world.fetch = async (url) => asked.push(String(url));
  const client = new CaptionClient("https://captions.example/sotto/", { world });
  await client.start();
  await world.pass(8);
  assert.deepEqual([client.state, asked], ["recording", ["https://captions.example/sotto/healthz"]]);
  await world.pass(60);
  assert.equal(world.sockets.length, 1);
});

test("a server that is not there yet is waited for, and hears all from the beginning", async () => {
  const world = new FakeWorld();
  world.fetch = async () => Promise.reject(new TypeError("failed to fetch"));
  const client = new CaptionClient("https://captions.example/", { world });
  await client.start();
  world.recorder.hear("HHHabc");
  world.socket.break();
  await settled();
  assert.equal(client.state, "offline");
  await world.pass(0.3);
  world.fetch = async () => {}; // it came just behind this knock
  world.socket.break();
  await settled();
  await world.pass(0.3);
  assert.deepEqual([client.state, world.sockets.length], ["offline", 3]);
  world.socket.open();
  world.socket.tell(READY);
  assert.equal(client.state, "listening");
  assert.equal(await world.socket.story(), "«HHHabc»");
});

test("a close code that says stop ends it, tickets or not", async () => {
  const { world, client, notices } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.tell(error("session.superseded"));
  world.socket.break(4509);
  await world.pass(60);
  assert.equal(client.state, "trouble");
  assert.deepEqual(notices, ["session.superseded"]);
  assert.equal(world.sockets.length, 1);
  assert.equal(world.recorder.state, "inactive");
});

test("a slow server is waited for as long as it says anything after stop", async () => {
  const { world, client, states } = await speaking();
  world.recorder.hear("HHHabc");
  client.stop();
  await world.pass(4);
  assert.equal(client.state, "waiting");
  for (let i = 0; i < 20; i++) {
    await world.pass(10);
    world.socket.tell({ type: "ack", ...ack(0, "t1") });
  }
  world.socket.tell(DONE);
  assert.deepEqual(states.slice(-3), ["finishing", "waiting", "done"]);
});

test("a server without tickets that says nothing after stop is sent the recording", async () => {
  const { world, client, said } = await speaking({ tickets: false });
  world.recorder.hear("HHHabc");
  client.stop();
  await world.pass(129);
  assert.equal(client.state, "waiting");
  await world.pass(1);
  assert.equal(said(), "the whole text");
});

test("a line that takes everything and answers nothing is made anew, also after stop", async () => {
  const { world, client } = await speaking();
  world.recorder.hear("HHHabc");
  await world.pass(29.9);
  assert.equal(world.sockets.length, 1);
  await world.pass(0.1);
  world.socket.open();
  world.socket.tell(READY, { type: "ack", ...ack(0, "t1") }, resumed(ack(0)));
  client.stop();
  await world.pass(30);
  world.socket.open();
  world.socket.tell(READY, { type: "ack", ...ack(0, "t2") }, resumed(ack(0)), DONE);
  assert.deepEqual(world.sockets.map(({ readyState }) => readyState), [3, 3, 3]);
  assert.equal(await world.socket.story(), "resume «HHHabc» stop");
  assert.equal(client.state, "done");
});

test("a line that dies before the first ticket is made anew too", async () => {
  const world = new FakeWorld();
  await new CaptionClient("https://captions.example/", { world }).start();
  world.socket.open();
  world.socket.tell({ ...READY, limits: { resume_s: 600 } });
  await world.pass(60);
  assert.equal(world.sockets.length, 1);
  world.recorder.hear("HHHabc");
  await world.pass(30);
  world.socket.open();
  assert.equal(await world.socket.story(), "«HHHabc»");
});

test("a long silence in which the server shows that it is there is no dead line", async () => {
  const { world } = await speaking();
  for (let i = 0; i < 60; i++) {
    if (i % 10 === 0) world.socket.tell({ type: "ack", ...ack(0, "t1") });
    world.recorder.hear("a");
    await world.pass(1);
  }
  assert.equal(world.sockets.length, 1);
});

test("a muted microphone says that somebody is there", async () => {
  const { world } = await speaking();
  for (let i = 0; i < 5; i++) {
    await world.pass(7);
    world.socket.tell({ type: "ack", ...ack(0, "t1") });
  }
  assert.equal(await world.socket.story(), "keepalive keepalive keepalive");
  assert.equal(world.sockets.length, 1);
});

test("a server with little patience is told in time that somebody is there", async () => {
  const { world } = await speaking();
  world.socket.tell({ ...READY, limits: { idle_s: 6 } });
  world.recorder.hear("a");
  await world.pass(5);
  assert.equal(await world.socket.story(), "«a» keepalive");
});

test("a microphone that is pulled out is replaced, in the same session", async () => {
  const { world, client, notices } = await speaking();
  world.recorder.hear("HHHabc");
  world.recorder.unplug();
  await settled();
  world.recorder.hear("KKKdef");
  assert.equal(world.recorders.length, 2);
  assert.equal(await world.socket.story(), "«HHHabc» recording «KKKdef»");
  assert.deepEqual(notices, ["microphone.changed"]);
  world.socket.tell(final(1, "One.", ack(5, "t1", { recording: 1 })));
  await comeBack(world);
  world.socket.tell(resumed(ack(5, "", { recording: 1 })));
  assert.equal(await world.socket.story(), "resume «KKKf»");
  assert.deepEqual(await Promise.all(client.files().map((file) => file.text())), ["HHHabc", "KKKdef"]);
});

test("a microphone that is changed while the line is down counts when it is back", async () => {
  const { world, client } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.break();
  const former = world.recorder;
  await client.use("other");
  await settled();
  world.recorder.hear("KKKdef");
  assert.equal(former.stream.track.readyState, "ended");
  await world.pass(0);
  world.socket.open();
  world.socket.tell(resumed(ack(0)));
  assert.equal(await world.socket.story(), "resume «HHHabc» recording «KKKdef»");
});

/** So many sounds to choose from. */
const sounds = (world, count) => Promise.all(Array.from({ length: count }, () => world.mediaDevices.getUserMedia()));
const live = (...sounds) => sounds.map(({ track }) => track.readyState === "live");

test("of two that are chosen in a hurry the last one goes on, and the other is given back", async () => {
  const { world, client } = await speaking();
  const [one, two] = await sounds(world, 2);
  await Promise.all([client.use(one), client.use(two)]);
  await settled();
  assert.deepEqual([world.recorders.length, live(one, two)], [2, [false, true]]);
  assert.equal(world.recorder.stream, two);
});

test("one that is chosen is given back when somebody stops before it goes on, or leaves", async () => {
  for (const end of ["stop", "abandon"]) {
    const { world, client } = await speaking();
    const [before, after] = await sounds(world, 2);
    world.recorder.hear("HHHabc");
    await client.use(before);
    client[end]();
    assert.equal(await client.use(after), false);
    await settled();
    assert.deepEqual([world.recorders.length, live(before, after)], [1, [false, false]]);
  }
});

test("one that is chosen while the browser looks for the next one goes on in its place", async () => {
  for (const found of [true, false]) {
    const { world, client, notices } = await speaking();
    const [late, chosen] = await sounds(world, 2);
    let answer;
    world.mediaDevices.getUserMedia = () => new Promise((...answers) => (answer = answers[found ? 0 : 1]));
    world.recorder.hear("HHHabc");
    world.recorder.unplug();
    await settled();
    await client.use(chosen);
    answer(late);
    await settled();
    assert.deepEqual([world.recorder.stream === chosen, live(late, chosen)], [true, [!found, true]]);
    assert.deepEqual([client.state, world.recorders.length, notices], ["listening", 2, []]);
  }
});

test("without another microphone the session ends with what was said", async () => {
  const { world, client, notices } = await speaking();
  world.microphones = 0;
  world.recorder.hear("HHHabc");
  world.recorder.unplug();
  await settled();
  assert.equal(client.state, "finishing");
  assert.equal(await world.socket.story(), "«HHHabc» stop");
  assert.deepEqual(notices, ["microphone.gone"]);
});

test("two recordings that cannot go live are sent one after the other, on one time line", async () => {
  const { world, client, said } = await speaking({ tickets: false });
  world.transcripts = ["One.", "Two."]; // each file lasts three seconds
  world.socket.break();
  world.recorder.hear("HHHabc");
  world.recorder.unplug();
  await settled();
  world.recorder.hear("KKKdef");
  client.stop();
  await settled();
  await settled();
  assert.deepEqual(world.posted.map(({ name }) => name), ["recording.webm", "recording 2.webm"]);
  assert.equal(said(), "One.\nTwo.");
  assert.deepEqual(client.transcript.lines.map(({ start }) => start), [0, 3]);
});

test("a recorder that a phone put to sleep goes on when the tab is seen again", async () => {
  const { world } = await speaking();
  world.recorder.state = "paused";
  world.events.dispatchEvent(new Event("visibilitychange"));
  assert.equal(world.recorder.state, "recording");
  world.recorder.hear("HHHabc");
  world.recorder.stream.track.readyState = "ended";
  world.events.dispatchEvent(new Event("visibilitychange"));
  await settled();
  assert.equal(world.recorders.length, 2);
});

test("an address that is none is told to who writes it, not to who speaks", () => {
  const world = new FakeWorld();
  for (const address of ["captions.example", "captions.example:8000", "/", "", undefined]) {
    assert.throws(() => new CaptionClient(address, { world }), TypeError, address);
  }
  assert.equal(new CaptionClient("http://a.example/b/?room=c", { world }).server, "http://a.example/b/");
});

test("whoever stops before the microphone is there is not listened to", async () => {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world });
  const starting = client.start();
  client.stop();
  await starting;
  assert.equal(client.state, "idle");
  assert.deepEqual([world.recorders.length, world.sockets.length], [0, 0]);
});

test("whoever is left for good listens no more, and opens no other microphone", async () => {
  const { world, client, notices } = await speaking();
  world.recorder.hear("HHHabc");
  client.abandon();
  await world.pass(60);
  assert.deepEqual([client.state, world.recorder.state, notices], ["idle", "inactive", []]);
  assert.deepEqual([world.microphones, world.recorders.length, world.sockets.length], [8, 1, 1]);
  assert.equal(world.recorder.stream.track.readyState, "ended");
});

test("whoever is left while the microphone is asked for does not listen either", async () => {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world });
  const starting = client.start();
  client.abandon();
  await starting;
  assert.deepEqual([client.state, world.recorders.length, world.sockets.length], ["idle", 0, 0]);
});

test("whoever was left while something was asked for can start again at once", async () => {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world });
  const [late, other] = [await world.mediaDevices.getUserMedia(), await world.mediaDevices.getUserMedia()];
  let give;
  world.mediaDevices.getUserMedia = () => new Promise((resolve) => (give = resolve));
  const leaving = client.start();
  client.abandon();
  assert.equal(client.state, "idle");
  await client.start(other);
  give(late);
  await leaving;
  assert.deepEqual([client.state, world.recorders.length, live(late, other)], ["connecting", 1, [false, true]]);
});

test("whoever is left while a recording is sent ends without a word", async () => {
  const { client, sent, told } = await sending();
  client.abandon();
  assert.equal(client.state, "idle");
  await client.start();
  await sent;
  assert.deepEqual([client.state, told], ["connecting", []]);
});

test("whoever was left can start again at once, and hears nothing of before", async () => {
  const { world, client, said } = await speaking();
  const [former] = world.recorders;
  former.pending = "HHHabc";
  client.abandon();
  await client.start(await world.mediaDevices.getUserMedia());
  world.recorder.hear("KKKdef");
  await settled();
  world.socket.open();
  world.socket.tell(READY, final(1, "Again."));
  assert.equal(await world.socket.story(), "«KKKdef»");
  assert.deepEqual([client.state, former.state, world.recorder.state], ["listening", "inactive", "recording"]);
  assert.equal(said(), "Again.");
});

test("a microphone that comes in the place of another one after somebody left is given back", async () => {
  const { world, client } = await speaking();
  const late = await world.mediaDevices.getUserMedia();
  const other = await world.mediaDevices.getUserMedia();
  let give;
  world.mediaDevices.getUserMedia = () => new Promise((resolve) => (give = resolve));
  world.recorder.hear("HHHabc");
  world.recorder.unplug();
  await settled();
  client.abandon();
  await client.start(other);
  give(late);
  await settled();
  assert.deepEqual([late.track.readyState, other.track.readyState, world.recorders.length], ["ended", "live", 2]);
  assert.equal(client.state, "connecting");
});

test("a client that is not in use is held by nothing, whatever it recorded", async () => {
  const { world, client } = await speaking();
  const listeners = () => ["online", "visibilitychange"].map((type) => getEventListeners(world.events, type).length);
  assert.deepEqual(listeners(), [1, 2]);
  world.recorder.hear("HHHabc");
  client.stop();
  await settled();
  world.socket.tell(DONE);
  assert.deepEqual(listeners(), [0, 0]);
  await client.start();
  client.abandon();
  await settled();
  assert.deepEqual(listeners(), [0, 0]);
});

test("after the end one can start again, behind what is there", async () => {
  const { world, client, said } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.tell(final(1, "One.", ack(6, "t1")));
  client.stop();
  await settled();
  world.socket.tell(DONE);
  await client.start();
  world.socket.open();
  world.socket.tell(READY, final(1, "Again."));
  assert.equal(said(), "One.\n\nAgain.");
  assert.deepEqual(world.socket.said, []);
});

// -- other sound than that of the microphone, and pauses -------------------------------------------------------------

test("the sound of a tab comes without its picture, and when it ends no microphone goes on", async () => {
  const world = new FakeWorld();
  const client = new CaptionClient("https://captions.example/", { world });
  const notices = [];
  client.addEventListener("notice", ({ detail }) => notices.push(detail.code));
  await client.start(DISPLAY);
  assert.deepEqual(world.recorder.stream.tracks.map(({ kind }) => kind), ["audio"]);
  world.socket.open();
  world.socket.tell(READY);
  world.recorder.hear("HHHabc");
  world.recorder.unplug();
  await settled();
  assert.equal(client.state, "finishing");
  assert.deepEqual(notices, ["source.gone"]);
});

for (const [display, code] of [[null, "display.denied"], [["video"], "display.silent"]]) {
  test(`a tab that is not shared, or without its sound, is told (${code})`, async () => {
    const world = new FakeWorld();
    const client = new CaptionClient("https://captions.example/", { world });
    const errors = [];
    client.addEventListener("error", ({ detail }) => errors.push(detail.code));
    world.display = display;
    await client.start(DISPLAY);
    assert.deepEqual(errors, [code]);
    assert.equal(world.sockets.length, 0);
  });
}

test("the sound of a tab that is not given in mid-session changes nothing", async () => {
  const { world, client, notices } = await speaking();
  world.display = null;
  await client.use(DISPLAY);
  assert.deepEqual(notices, ["display.denied"]);
  world.recorder.unplug(); // its place is still taken by the next microphone …
  world.recorder.hear("HHHabc");
  await settled();
  assert.equal(world.recorders.length, 2);
});

test("in a pause nothing is recorded, what was said before it is sent, and time stands still", async () => {
  const { world, client } = await speaking();
  await world.pass(2);
  world.recorder.pending = "HHHabc";
  client.pause();
  assert.equal(await world.socket.story(), "«HHHabc»");
  assert.equal(world.recorder.state, "paused");
  world.events.dispatchEvent(new Event("visibilitychange"));
  assert.equal(world.recorder.state, "paused"); // it was no phone that held it
  await world.pass(5);
  client.resume();
  await world.pass(1);
  assert.deepEqual([world.recorder.state, client.recorded_s], ["recording", 3]);
});

test("what was said before a pause becomes final in it, also over a line that breaks in it", async () => {
  const { world, client } = await speaking();
  world.recorder.hear("HHHabc");
  world.socket.tell(ack(3, "t1"));
  client.pause();
  world.recorder.hear("d"); // its last chunk came late
  await world.pass(0.3);
  assert.equal(await world.socket.story(), "«HHHabcd» finalize");
  await comeBack(world);
  world.socket.tell(READY, resumed(ack(3, "t2")));
  assert.equal(await world.socket.story(), "resume «HHHabcd» finalize");
  client.resume();
  world.recorder.hear("e");
  await comeBack(world);
  world.socket.tell(READY, resumed(ack(3, "t2")));
  assert.equal(await world.socket.story(), "resume «HHHabcde»");
});

test("a microphone that is changed in a pause waits too", async () => {
  const { world, client } = await speaking();
  world.recorder.hear("HHHabc");
  client.pause();
  await client.use("other");
  await settled();
  assert.deepEqual([world.recorders.length, world.recorder.state], [2, "paused"]);
});

test("how late captions are is counted in recorded time, also in the session that follows one", async () => {
  const { world, client } = await speaking();
  assert.equal(client.lag_s, null);
  world.recorder.hear("HHHabc");
  await world.pass(4);
  world.socket.tell(final(1, "One.", ack(6, "t1")), { ...partial(2, "tw"), end: 3.25 });
  assert.equal(client.lag_s, 0.75);
  await comeBack(world); // after 1.2 s
  world.socket.tell(error("resume.expired"));
  await comeBack(world, 4031);
  world.socket.tell(READY, { ...partial(1, "two"), end: 5 }); // the first second was final before
  assert.equal(Number(client.lag_s.toFixed(3)), 0.4);
});

test("what it costs is told with every ack", async () => {
  const { world, client } = await speaking();
  const costs = [];
  client.addEventListener("cost", ({ detail }) => costs.push(detail.billed_s));
  world.socket.tell(final(1, "One.", { ...ack(6, "t1"), billed_s: 2.5 }));
  world.socket.tell({ type: "ack", ...ack(6, "t2"), billed_s: 4 });
  assert.deepEqual(costs, [2.5, 4]);
});

// -- files -------------------------------------------------------------------------------------------------------

/** A client that was given a file, and the server has not answered yet. */
async function sending() {
  const world = new FakeWorld();
  world.transcripts = [];
  const client = new CaptionClient("https://captions.example/", { world });
  const told = [];
  client.addEventListener("progress", ({ detail }) => told.push(detail));
  client.addEventListener("error", ({ detail }) => told.push(detail.code));
  const sent = client.transcribe(new File(["sound"], "talk.mp3"));
  return { world, client, told, sent, said: () => asText(client.transcript).trim() };
}

test("a file's captions come one after the other, however its events are cut", async () => {
  const { world, client, told, sent, said } = await sending();
  assert.equal(world.request.headers.Accept, "text/event-stream");
  world.request.upload.dispatchEvent(Object.assign(new Event("progress"), { loaded: 1, total: 4 }));
  world.request.upload.dispatchEvent(new Event("load"));
  const answer = [{ type: "progress", done_s: 1, duration_s: 3 }, spoken(1, "Öne.")];
  const lines = answer.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
  for (const character of lines) world.request.write(character);
  assert.deepEqual([said(), client.state], ["Öne.", "uploading"]);
  world.request.write(":\n\n");
  world.request.tell(spoken(2, "Two."), { type: "done", transcript: "Öne. Two.", language: "en", duration: 3 });
  await sent;
  assert.deepEqual([said(), client.state], ["Öne.\nTwo.", "done"]);
  assert.deepEqual(told.map(({ fraction, done_s, duration_s }) => [fraction, done_s, duration_s]), [
    [0.25, undefined, undefined],
    [undefined, 0, null],
    [undefined, 1, 3],
  ]);
});

test("a file that is cancelled leaves what was there, and takes nothing more", async () => {
  const { world, client, told, sent, said } = await sending();
  world.request.tell(spoken(1, "One."));
  client.cancel();
  await sent;
  world.request.tell(spoken(2, "Two."));
  assert.deepEqual([said(), client.state, told], ["One.", "idle", []]);
});

test("a recording that is cancelled can be sent again", async () => {
  const { world, client, notices, said } = await speaking({ tickets: false });
  world.transcripts = [];
  world.recorder.hear("HHHabc");
  world.socket.tell(partial(1, "hello"));
  world.socket.break();
  client.stop();
  await settled();
  client.cancel();
  await settled();
  assert.deepEqual([client.state, notices.at(-1), said()], ["trouble", "upload.cancelled", "hello"]);
  world.transcripts = ["the whole text"];
  await client.upload();
  assert.equal(said(), "the whole text");
});

for (const [name, answer, code] of [
  ["an error instead of events", (request) => request.end(415), "audio.unsupported_format"],
  ["an error among the events", (request) => request.tell(error("engine.unavailable")), "engine.unavailable"],
  ["events that break off", (request) => request.end(200), "upload.failed"],
  ["a proxy's page", (request) => request.end(502), "upload.failed"],
]) {
  test(`${name} is told, and the file can be sent again`, async () => {
    const { world, client, told, sent, said } = await sending();
    if (code === "audio.unsupported_format") world.request.responseText = JSON.stringify(error(code));
    else world.request.tell(spoken(1, "One."));
    answer(world.request);
    await sent;
    assert.deepEqual([client.state, told], ["trouble", [code]]);
    world.transcripts = ["the whole text"];
    await client.upload();
    assert.equal(said(), "the whole text");
    assert.equal(await world.posted.at(-1).text(), "sound");
  });
}

test("a server that says nothing for five minutes is not waited for", async () => {
  const { world, told, sent } = await sending();
  await world.pass(290);
  world.request.write(":\n\n");
  await world.pass(290);
  assert.deepEqual(told, []);
  await world.pass(10);
  await sent;
  assert.deepEqual(told, ["upload.failed"]);
});
