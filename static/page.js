// @ts-check
/** The page: the client's events become words, the button starts and stops it. */

import { BUSY, CaptionClient, DISPLAY, EMPTY, OPEN, UNDER_WAY, UNKNOWN, asText, askEngine } from "./captions/client.js";
import { CaptionsView } from "./captions_view.js";
import { download, nameFor, save } from "./downloads.js";
import { takeDrops } from "./drop.js";
import { offered } from "./languages.js";
import { openBeside } from "./menu.js";
import { Meter } from "./meter.js";
import { WakeLock, offerFullScreen, offerSizes } from "./reading.js";
import { remember, remembered } from "./remembered.js";
import { CLEARS, EMPTY_FILE, EMPTY_STATES, PAUSED, STATES, TRANSCRIBING, clock, sentence } from "./sentences.js";
import { Share } from "./share.js";
import { Sources } from "./sources.js";

const QUIET_S = 6; // so long nothing at all from a microphone means that it is muted
const COPIED_MS = 2_000;
const TICK_MS = 250;
const DOWN_S = 2; // most breaks are over by then, and need no sentence
// True until one has stopped.
const KEEP_TALKING = new Set(["live.blocked", "live.lost", "live.down", "engine.delayed"]);
const PASSING = new Set(["engine.delayed", "room.degraded"]); // told again, with a lag of 0, when it is over
const WHY_IT_ENDED = new Set(["microphone.gone", "source.gone", "recording.full"]);
const OF_A_LINE = new Set(["caption.degraded", "audio.gap"]); // less than why it ended
const OF_THE_FILE = new Set(["audio.unsupported_format", "audio.corrupt", "audio.too_large"]);
const WHILE_DOWN = new Set(["live.down", "live.down.at_stop"]); // true until the line is up

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);

const view = new CaptionsView({
  scroller: $("captions"),
  finals: $("finals"),
  partials: $("partials"),
  newest: $("newest"),
});
const meter = new Meter($("meter"), {
  AudioContext: window.AudioContext,
  still: matchMedia("(prefers-reduced-motion)"),
});
const awake = new WakeLock();
const room = new URLSearchParams(location.search).get("room") ?? "";
const client = new CaptionClient(document.baseURI, { room });
const share = new Share($("share-menu"), $("share"));
const sources = new Sources($("source"), navigator.mediaDevices, async () => {
  if (OPEN.has(state()) && !(await client.use(sources.chosen))) sources.show(source);
});
let engine = UNKNOWN;
/** The code of the notice on show, "" when there is none. */
let noticed = "";
/** @type {File | null} the one that was opened, if its captions are here */
let file = null;
/** The one in use; a choice that fails goes back to it. */
let source = "";
/** @type {ReturnType<typeof setInterval> | undefined} */
let seconds;

// -- what one can do ----------------------------------------------------------------------------------------------

function start() {
  file = null;
  prepare();
  void client.start(sources.chosen);
}

/** @param {File} chosen */
function open(chosen) {
  if (asText(client.transcript) && !confirm(CLEARS)) return;
  client.transcript = EMPTY; // its captions have the file's times, and a name
  file = chosen;
  share.room = room;
  prepare();
  $("engine").textContent = file.name;
  void client.transcribe(file);
}

function prepare() {
  client.language = $("language").value;
  readToken();
  for (const id of ["engine", "lag", "cost"]) $(id).textContent = "";
  notice(null);
}

/** Of the link with which the page was opened, or of another one since; a fragment is never sent. */
function readToken() {
  client.token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
}

/** The one button. */
function press() {
  if (BUSY.has(state())) return;
  if (OPEN.has(state())) client.stop();
  else if (state() === "uploading") client.cancel();
  else if (state() === "waiting" || state() === "stranded") client.stopWaiting();
  else start();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(asText(client.transcript));
    $("copy-label").textContent = "Copied";
    setTimeout(() => ($("copy-label").textContent = "Copy"), COPIED_MS);
  } catch {
    getSelection()?.selectAllChildren($("finals"));
    notice({ code: "copy.failed" });
  }
}

function clear() {
  client.transcript = EMPTY;
  file = null;
  share.room = room;
  for (const id of ["engine", "lag", "cost"]) $(id).textContent = "";
  notice(null);
  showState("idle");
  $("button").focus();
}

// -- what is shown ------------------------------------------------------------------------------------------------

/** @param {any} message */
function show(message) {
  if (message.type === "final" && noticed === "engine.delayed") notice(null);
  if (message.type === "whole") notice(null);
  if (message.type === "partial" && client.lag_s !== null) $("lag").textContent = `${client.lag_s.toFixed(1)} s behind`;
  render();
}

function render() {
  view.render(client.transcript);
  const nothing = asText(client.transcript) === "";
  $("empty").hidden = !nothing;
  for (const id of ["copy", "download", "clear"]) $(id).disabled = nothing && !client.transcript.lines.length;
  $("clear").disabled ||= UNDER_WAY.has(state());
}

/** @param {import("./captions/client.js").State} state */
function showState(state) {
  document.body.dataset.state = state;
  const open = OPEN.has(state);
  say(open && client.paused ? PAUSED : STATES[state].state);
  $("label").textContent = STATES[state].button;
  $("button").setAttribute("aria-disabled", String(BUSY.has(state)));
  $("language").disabled = UNDER_WAY.has(state);
  $("source").disabled = UNDER_WAY.has(state) && !open;
  $("pause").hidden = !open;
  $("open").hidden = open;
  $("open").disabled = UNDER_WAY.has(state);
  const empty = file && state === "done" ? EMPTY_FILE : EMPTY_STATES[state];
  [$("empty-title").textContent, $("empty-text").textContent] = empty;
  $("progress").hidden = state !== "uploading";
  // Hundreds of lines that come at once are not for the ear.
  $("finals").setAttribute("aria-live", state === "uploading" ? "off" : "polite");
  if (state !== "listening") $("lag").textContent = "";
  if (!open) quiet();
  if (UNDER_WAY.has(state) && !open && KEEP_TALKING.has(noticed)) notice(null);
  if (state !== "offline" && state !== "stranded" && WHILE_DOWN.has(noticed)) notice(null);
  if (state === "stranded") notice({ code: "live.down.at_stop" });
  render();
}

/** @param {boolean} paused */
function showPaused(paused) {
  document.body.classList.toggle("paused", paused);
  $("pause").textContent = paused ? "Resume" : "Pause";
  $("lag").textContent = "";
  showState(state());
}

/** The state in words, which is read aloud: only when it is another one. @param {string} words */
function say(words) {
  if ($("state").textContent !== words) $("state").textContent = words;
}

/** @param {MediaStream} stream */
function listen(stream) {
  meter.start(stream);
  source = sources.chosen;
  void sources.offer();
  if (seconds !== undefined) return; // another microphone, the same take
  seconds = setInterval(tick, TICK_MS);
  tick();
  awake.hold();
}

function quiet() {
  clearInterval(seconds);
  seconds = undefined;
  $("clock").textContent = "";
  meter.stop();
  awake.release();
}

function tick() {
  const offline = state() === "offline" && !client.paused;
  $("clock").textContent = offline ? `${Math.floor(client.down_s)} s waiting` : clock(client.recorded_s);
  if (offline && client.down_s > DOWN_S && !noticed) notice({ code: "live.down" });
  const silent = !meter.heard && client.recorded_s > QUIET_S && source !== DISPLAY; // a tab may be silent with reason
  if (silent && !noticed) notice({ code: "microphone.quiet" });
  if (meter.heard && noticed === "microphone.quiet") notice(null);
}

/** @param {import("./captions/upload.js").Progress} progress */
function showProgress(progress) {
  if (progress.step === "sending") {
    say(STATES.uploading.state);
    $("clock").textContent = `${Math.round(progress.fraction * 100)} %`;
    $("progress").value = progress.fraction;
    return;
  }
  const { done_s, duration_s } = progress;
  say(TRANSCRIBING);
  $("clock").textContent = duration_s ? `${clock(done_s)} of ${clock(duration_s)}` : done_s ? clock(done_s) : "";
  // Without a value the bar says that it takes an unknown time.
  if (duration_s && done_s) $("progress").value = Math.min(1, done_s / duration_s);
  else $("progress").removeAttribute("value");
}

/** What it costs, where it costs. @param {{billed_s: number}} cost */
function showCost({ billed_s }) {
  if (engine.paid && billed_s > 0) $("cost").textContent = `${clock(billed_s)} billed`;
}

/** What it cost: more than was recorded, because windows overlap. @param {any} done */
function showSummary(done) {
  if (!engine.paid || !done?.audio_s) return;
  $("cost").textContent = "";
  $("engine").textContent = `${clock(done.audio_s)} recorded, ${clock(done.billed_s)} billed`;
}

/** What the session has to say. @param {import("./captions/client.js").Notice} next */
function tell(next) {
  if (OF_A_LINE.has(next.code) && WHY_IT_ENDED.has(noticed)) return;
  if (!PASSING.has(next.code)) notice(next);
  else if (OPEN.has(state()) && next.lag_s !== 0) notice(next);
  else if (noticed === next.code) notice(null); // over; after stop the state says it
}

/** @param {import("./captions/client.js").Notice | null} next */
function notice(next) {
  noticed = next?.code ?? "";
  $("notice").hidden = !next;
  $("notice-text").textContent = next ? sentence(next, file !== null) : "";
  // Another language is another session; all else but what the file is may go better with the same recording.
  const hopeless = next && (next.param === "language" || (file && OF_THE_FILE.has(next.code)));
  const resend = next && !hopeless && state() === "trouble" && client.files().length > 0;
  $("resend").hidden = !resend;
  $("save").hidden = !resend || file !== null;
}

function state() {
  return /** @type {import("./captions/client.js").State} */ (document.body.dataset.state);
}

/** @param {string} type @param {(detail: any) => void} act */
function on(type, act) {
  client.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
}

function offerLanguages() {
  const languages = offered(engine.languages);
  const only = languages.length === 1;
  $("language").replaceChildren(...languages.map(([code, name]) => new Option(name, code)));
  const former = languages.find(([code]) => code === remembered("language"));
  $("language").value = (former ?? languages[0])[0];
  $("language").parentElement.hidden = only;
  $("only-language").hidden = !only;
  $("only-language").querySelector("bdi").textContent = languages[0][1];
}

$("language").addEventListener("change", () => remember("language", $("language").value));
$("button").addEventListener("click", press);
$("pause").addEventListener("click", () => (client.paused ? client.resume() : client.pause()));
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  if ($("file").files[0]) open($("file").files[0]);
  $("file").value = ""; // the same one may be chosen again
});
takeDrops(() => !UNDER_WAY.has(state()), open);
$("copy").addEventListener("click", copy);
$("download-menu").addEventListener("click", (/** @type {any} */ { target: { value } }) => {
  if (!value) return;
  download(client.transcript, value, nameFor(file));
  $("download-menu").hidePopover();
});
$("clear").addEventListener("click", clear);
$("resend").addEventListener("click", () => {
  notice(null);
  readToken();
  void client.upload();
});
$("save").addEventListener("click", () => {
  for (const recorded of client.files()) save(recorded, recorded.name);
});
addEventListener("beforeunload", (event) => {
  if (UNDER_WAY.has(state())) event.preventDefault();
});
addEventListener("pagehide", () => client.abandon());
on("state", showState);
on("paused", showPaused);
on("notice", tell);
on("error", notice);
on("stream", listen);
on("ready", (ready) => {
  $("engine").textContent = ready.engine;
  share.room = ready.room;
});
on("caption", show);
on("progress", showProgress);
on("cost", showCost);
on("summary", showSummary);
openBeside($("reading-menu"), $("reading"), "below");
openBeside($("download-menu"), $("download"), "above");
offerSizes($("size"));
offerFullScreen($("fullscreen"));
$("fullscreen").addEventListener("click", () => $("reading-menu").hidePopover());
share.room = room;
showState("idle");
engine = await askEngine(document.baseURI);
offerLanguages();
