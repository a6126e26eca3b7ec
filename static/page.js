// @ts-check
/** The page: the client's events become words, the button starts and stops it. */

import { BUSY, CaptionClient, EMPTY, OPEN, UNDER_WAY, UNKNOWN, asText, askEngine } from "./captions/client.js";
import { CaptionsView } from "./captions_view.js";
import { offered } from "./languages.js";
import { Meter } from "./meter.js";
import { EMPTY_STATES, STATES, clock, sentence } from "./sentences.js";

const QUIET_MS = 6_000; // so long nothing at all from a microphone means that it is muted
const COPIED_MS = 2_000;
const DOWN_S = 2; // most breaks are over by then, and need no sentence
// True until one has stopped.
const KEEP_TALKING = new Set(["live.blocked", "live.lost", "live.down", "engine.delayed"]);
const WHILE_DOWN = new Set(["live.down", "live.down.at_stop"]); // true until the line is up
const LANGUAGE_KEY = "sotto.language";

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

const client = new CaptionClient(document.baseURI);
let engine = UNKNOWN;
/** The code of the notice on show, "" when there is none. */
let noticed = "";
let began = 0;
/** @type {ReturnType<typeof setInterval> | undefined} */
let seconds;
/** @type {WakeLockSentinel | null} */
let awake = null;

function start() {
  client.language = $("language").value;
  client.token = new URLSearchParams(location.hash.slice(1)).get("token") ?? ""; // a fragment is never sent
  notice(null);
  void client.start();
}

/** @param {any} message */
function show(message) {
  if (message.type === "final" && noticed === "engine.delayed") notice(null);
  if (message.type === "whole") notice(null);
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
  say(STATES[state].state);
  $("label").textContent = STATES[state].button;
  $("button").setAttribute("aria-disabled", String(BUSY.has(state)));
  $("language").disabled = UNDER_WAY.has(state);
  [$("empty-title").textContent, $("empty-text").textContent] = EMPTY_STATES[state];
  $("progress").hidden = state !== "uploading";
  if (state === "asking" || state === "idle") $("engine").textContent = "";
  if (!OPEN.has(state)) quiet();
  if (UNDER_WAY.has(state) && !OPEN.has(state) && KEEP_TALKING.has(noticed)) notice(null);
  if (state !== "offline" && state !== "stranded" && WHILE_DOWN.has(noticed)) notice(null);
  if (state === "stranded") notice({ code: "live.down.at_stop" });
  render();
}

/** The state in words, which is read aloud: only when it is another one. @param {string} words */
function say(words) {
  if ($("state").textContent !== words) $("state").textContent = words;
}

/** @param {MediaStream} stream */
function listen(stream) {
  meter.start(stream);
  if (OPEN.has(state())) return; // another microphone, the same take
  began = performance.now();
  seconds = setInterval(tick, 250);
  tick();
  stayAwake();
}

/** A phone that is only listened to goes dark otherwise. Where it is refused, nothing is lost. */
function stayAwake() {
  navigator.wakeLock?.request("screen").then(
    (lock) => (awake = lock),
    () => {},
  );
}

function quiet() {
  clearInterval(seconds);
  $("clock").textContent = "";
  meter.stop();
  void awake?.release();
  awake = null;
}

function tick() {
  const elapsed = performance.now() - began;
  const offline = state() === "offline";
  $("clock").textContent = offline ? `${Math.floor(client.down_s)} s waiting` : clock(elapsed / 1000);
  if (offline && client.down_s > DOWN_S && !noticed) notice({ code: "live.down" });
  if (!meter.heard && elapsed > QUIET_MS && !noticed) notice({ code: "microphone.quiet" });
  if (meter.heard && noticed === "microphone.quiet") notice(null);
}

/** @param {number} fraction */
function showProgress(fraction) {
  // When all is sent the server works for an unknown time: a bar without value says so.
  if (fraction < 1) $("progress").value = fraction;
  else $("progress").removeAttribute("value");
  say(fraction < 1 ? "Sending the recording" : STATES.uploading.state);
  $("clock").textContent = fraction < 1 ? `${Math.round(fraction * 100)} %` : "";
}

/** What it cost, where it costs: windows overlap. @param {{audio_s: number, billed_s: number} | undefined} done */
function showSummary(done) {
  if (!engine.paid || !done?.audio_s) return;
  $("engine").textContent = `${clock(done.audio_s)} recorded, ${clock(done.billed_s)} billed`;
}

/** What the session has to say. @param {import("./captions/client.js").Notice} next */
function tell(next) {
  if (next.code !== "engine.delayed") notice(next);
  else if (OPEN.has(state()) && next.lag_s) notice(next);
  else if (noticed === next.code) notice(null); // it answers again; after stop the state says it
}

/** @param {import("./captions/client.js").Notice | null} next */
function notice(next) {
  noticed = next?.code ?? "";
  $("notice").hidden = !next;
  $("notice-text").textContent = next ? sentence(next) : "";
  // Another language is another session; everything else may go better with the same recording.
  const resend = next && next.param !== "language" && state() === "trouble" && client.files().length > 0;
  for (const id of ["resend", "save"]) $(id).hidden = !resend;
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

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to read it when the click returns; give slow disks time before it is gone.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function clear() {
  client.transcript = EMPTY;
  $("engine").textContent = "";
  notice(null);
  showState("idle");
  $("button").focus();
}

function state() {
  return /** @type {import("./captions/client.js").State} */ (document.body.dataset.state);
}

/** @param {string} type @param {(detail: any) => void} act */
function on(type, act) {
  client.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
}

/** Local time, as it sorts: 2026-05-09 14.03. */
function stamp() {
  const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString();
  return now.slice(0, 16).replace("T", " ").replace(":", ".");
}

/** @returns {string} */
function rememberedLanguage() {
  try {
    return localStorage.getItem(LANGUAGE_KEY) ?? "";
  } catch {
    return ""; // storage is switched off
  }
}

/** @param {string} language */
function rememberLanguage(language) {
  try {
    localStorage.setItem(LANGUAGE_KEY, language);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}

function offerLanguages() {
  const languages = offered(engine.languages);
  const only = languages.length === 1;
  $("language").replaceChildren(...languages.map(([code, name]) => new Option(name, code)));
  const former = languages.find(([code]) => code === rememberedLanguage());
  $("language").value = (former ?? languages[0])[0];
  $("language").parentElement.hidden = only;
  $("only-language").hidden = !only;
  $("only-language").querySelector("bdi").textContent = languages[0][1];
}

$("language").addEventListener("change", () => rememberLanguage($("language").value));
$("button").addEventListener("click", () => {
  if (BUSY.has(state())) return;
  if (OPEN.has(state())) client.stop();
  else if (state() === "waiting" || state() === "stranded") client.stopWaiting();
  else start();
});
$("copy").addEventListener("click", copy);
$("download").addEventListener("click", () => {
  save(new Blob([asText(client.transcript)], { type: "text/plain;charset=utf-8" }), `captions ${stamp()}.txt`);
});
$("clear").addEventListener("click", clear);
$("resend").addEventListener("click", () => {
  notice(null);
  void client.upload();
});
$("save").addEventListener("click", () => {
  for (const file of client.files()) save(file, file.name);
});
addEventListener("beforeunload", (event) => {
  if (UNDER_WAY.has(state())) event.preventDefault();
});
addEventListener("pagehide", () => client.abandon());
addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && OPEN.has(state())) stayAwake(); // a hidden tab loses its lock
});
on("state", showState);
on("notice", tell);
on("error", notice);
on("stream", listen);
on("ready", (ready) => ($("engine").textContent = ready.engine));
on("caption", show);
on("progress", showProgress);
on("summary", showSummary);
showState("idle");
engine = await askEngine(document.baseURI, window);
offerLanguages();
