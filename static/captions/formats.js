// @ts-check
/** A transcript to keep: SRT, WebVTT or JSON, in the form in which the server answers for files. */

import { cues } from "./cues.js";
import { finals } from "./transcript.js";

/** SubRip: numbered cues. @param {import("./transcript.js").Transcript} transcript */
export function asSrt(transcript) {
  return cues(finals(transcript))
    .map((cue, i) => `${i + 1}\n${block(cue, ",")}`)
    .join("\n");
}

/**
 * WebVTT (W3C); the three characters with a meaning in cue text are escaped.
 * @param {import("./transcript.js").Transcript} transcript
 */
export function asVtt(transcript) {
  return ["WEBVTT\n", ...cues(finals(transcript)).map((cue) => block(cue, ".", escaped))].join("\n");
}

/** The server's verbose_json. @param {import("./transcript.js").Transcript} transcript */
export function asJson(transcript) {
  const said = finals(transcript);
  const answer = {
    transcript: said.map(({ text }) => text).join(" "),
    language: said.find(({ language }) => language)?.language ?? null,
    duration: said.at(-1)?.end ?? 0,
    segments: said.map(({ start, end, text }) => ({ start, end, text })),
    words: said.flatMap(({ words }) => words),
  };
  return `${JSON.stringify(answer, null, 2)}\n`;
}

/** @param {import("./cues.js").Cue} cue @param {string} point @param {(text: string) => string} [written] */
function block({ start, end, lines }, point, written = (text) => text) {
  return [`${time(start, point)} --> ${time(end, point)}`, ...lines.map(written), ""].join("\n");
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** @param {number} ms @param {string} point */
function time(ms, point) {
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const seconds = Math.floor(ms / 1000);
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(":");
  return `${clock}${point}${String(ms % 1000).padStart(3, "0")}`;
}
