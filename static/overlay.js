// @ts-check
/** The newest words of a room over somebody else's picture: a browser source of OBS. */

import { CaptionViewer } from "./captions/viewer.js";
import { readOptions } from "./overlay_options.js";
import { RollUp } from "./rollup.js";
import { NO_ROOM, roomSentence } from "./sentences.js";

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);

const query = new URLSearchParams(location.search);
const { styles, lines, hide_s, settled, position, align } = readOptions(query, CSS.supports.bind(CSS));
const room = query.get("room") ?? "";
const viewer = new CaptionViewer(document.baseURI, room, { past: false });
const view = new RollUp($("words"), { lines, settled, still: matchMedia("(prefers-reduced-motion)") });
/** Lines that silence has hidden; they do not come back with the next ones. */
let hidden = new Set();
let drawing = false;
/** @type {ReturnType<typeof setTimeout>} */
let silence;

const key = (/** @type {import("./captions/transcript.js").Line} */ line) => `${line.session}.${line.utterance}`;

function draw() {
  drawing = false;
  view.render(viewer.transcript.lines.filter((line) => !line.final || !hidden.has(key(line))));
}

function show() {
  $("window").classList.remove("silent");
  clearTimeout(silence);
  if (hide_s) silence = setTimeout(hide, hide_s * 1000);
  if (!drawing) requestAnimationFrame(draw);
  drawing = true;
}

function hide() {
  $("window").classList.add("silent");
  hidden = new Set(viewer.transcript.lines.filter((line) => line.final).map(key));
}

Object.assign(document.body.dataset, { position, align });
document.body.classList.toggle("grounded", "--ground" in styles);
for (const [name, value] of Object.entries(styles)) document.documentElement.style.setProperty(name, value);
viewer.addEventListener("caption", show);
// Both can only be seen by who sets it up: on the air there is never a word that nobody said.
viewer.addEventListener("error", (event) => {
  $("words").textContent = roomSentence(/** @type {CustomEvent} */ (event).detail.code);
});
if (room) viewer.follow();
else $("words").textContent = NO_ROOM.join(" ");
