// @ts-check
/** Captions and recordings as files on somebody's disk. */

import { asJson, asSrt, asText, asVtt } from "./captions/client.js";

/**
 * What each form of a transcript is made by, and its type.
 * @type {Record<string, [(transcript: import("./captions/transcript.js").Transcript) => string, string]>}
 */
const FORMS = {
  txt: [asText, "text/plain"],
  srt: [asSrt, "application/x-subrip"],
  vtt: [asVtt, "text/vtt"],
  json: [asJson, "application/json"],
};

/** @param {import("./captions/transcript.js").Transcript} transcript @param {string} form @param {string} name */
export function download(transcript, form, name) {
  const [written, type] = FORMS[form];
  save(new Blob([written(transcript)], { type: `${type};charset=utf-8` }), `${name}.${form}`);
}

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to read it when the click returns; give slow disks time before it is gone.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * What the captions of a file are called, or those of this moment, as it sorts: captions 2026-05-09 14.03.
 * @param {File | null} file
 */
export function nameFor(file) {
  if (file) return file.name.replace(/\.[^.]*$/, "") || "captions";
  const local = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString();
  return `captions ${local.slice(0, 16).replace("T", " ").replace(":", ".")}`;
}
