// @ts-check
/** The page to read along: a room's captions, from the first word that is kept. */

import { CaptionViewer, asText } from "./captions/viewer.js";
import { CaptionsView } from "./captions_view.js";
import { openBeside } from "./menu.js";
import { WakeLock, offerFullScreen, offerSizes } from "./reading.js";
import { EMPTY_ROOM, NO_ROOM, ROOM_STATES, roomSentence } from "./sentences.js";
import { Share } from "./share.js";

const CAUGHT_UP_MS = 1_000; // finals that come closer together were said before: they are for the eye

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);

const room = new URLSearchParams(location.search).get("room") ?? "";
const view = new CaptionsView({
  scroller: $("captions"),
  finals: $("finals"),
  partials: $("partials"),
  newest: $("newest"),
});
const awake = new WakeLock();
const viewer = new CaptionViewer(document.baseURI, room);
let drawing = false;
/** @type {ReturnType<typeof setTimeout>} */
let catchingUp;

/** @param {any} message */
function show({ type }) {
  if (type === "final" && $("finals").getAttribute("aria-live") === "off") catchUp();
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    render();
  });
}

function render() {
  view.render(viewer.transcript);
  $("empty").hidden = asText(viewer.transcript) !== "";
  $("download").disabled = viewer.transcript.offset === 0;
}

function showState() {
  const { state } = viewer;
  if (document.body.dataset.state !== state && state === "live") catchUp();
  document.body.dataset.state = state;
  $("state").textContent = ROOM_STATES[state];
  [$("empty-title").textContent, $("empty-text").textContent] = EMPTY_ROOM[state];
  if (state === "live") awake.hold();
  else if (state !== "offline") awake.release();
  notice(viewer.degraded ? roomSentence("degraded") : "");
  render();
}

/** Hundreds of lines that come at once are not read aloud. */
function catchUp() {
  clearTimeout(catchingUp);
  $("finals").setAttribute("aria-live", "off");
  catchingUp = setTimeout(() => $("finals").setAttribute("aria-live", "polite"), CAUGHT_UP_MS);
}

/** @param {string} words */
function notice(words) {
  $("notice").hidden = !words;
  if ($("notice-text").textContent !== words) $("notice-text").textContent = words;
}

viewer.addEventListener("caption", (event) => show(/** @type {CustomEvent} */ (event).detail));
viewer.addEventListener("state", showState);
viewer.addEventListener("error", (event) => notice(roomSentence(/** @type {CustomEvent} */ (event).detail.code)));
openBeside($("reading-menu"), $("reading"), "below");
openBeside($("download-menu"), $("download"), "below");
offerSizes($("size"));
offerFullScreen($("fullscreen"));
$("fullscreen").addEventListener("click", () => $("reading-menu").hidePopover());
new Share($("share-menu"), $("share")).room = room;
for (const link of $("download-menu").children) {
  const { form } = link.dataset;
  link.href = new URL(`api/rooms/${encodeURIComponent(room)}/transcript.${form}`, document.baseURI).href;
  link.download = `${room}.${form}`;
}
if (room) {
  $("room").textContent = room;
  document.title = `${room}: captions to read along`;
  viewer.follow();
} else {
  [$("empty-title").textContent, $("empty-text").textContent] = NO_ROOM;
  $("state").textContent = document.body.dataset.state = "";
}
