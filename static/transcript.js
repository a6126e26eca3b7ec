// @ts-check
/** The transcript as a value: `reduce(transcript, message)` gives the next one. No DOM, no socket, no clock. */

/**
 * One utterance on the page. `stable` counts characters (code points) that will not change any more.
 * A take is one press of the button; utterances count from 0 or 1 again in each.
 * @typedef {{take: number, utterance: number, text: string, stable: number, final: boolean, language: string}} Line
 * @typedef {{take: number, lines: readonly Line[]}} Transcript
 */

/** @type {Transcript} */
export const EMPTY = Object.freeze({ take: 0, lines: Object.freeze([]) });

/**
 * Messages: the protocol's `partial` and `final`, and two of the page's own: `take` (the button was pressed) and
 * `whole` (the text of the whole recording, which replaces what this take had). Others change nothing.
 * @param {Transcript} transcript
 * @param {any} message
 * @returns {Transcript}
 */
export function reduce(transcript, message) {
  switch (message.type) {
    case "take":
      return { take: transcript.take + 1, lines: settled(transcript.lines) };
    case "partial":
    case "final":
      return place(transcript, message);
    case "whole":
      return message.text.trim() ? whole(transcript, message) : { ...transcript, lines: settled(transcript.lines) };
    default:
      return transcript;
  }
}

/**
 * What is shown, one utterance a line, an empty line between takes.
 * @param {Transcript} transcript
 */
export function asText(transcript) {
  const shown = transcript.lines.filter((line) => line.text.trim());
  return shown
    .map((line, i) => (i > 0 && shown[i - 1].take !== line.take ? "\n" : "") + line.text.trim() + "\n")
    .join("");
}

/**
 * The settled and the still changing part of a line.
 * @param {Line} line
 * @returns {[string, string]}
 */
export function parts(line) {
  if (line.final) return [line.text, ""];
  const characters = Array.from(line.text); // the server counts code points, JavaScript's slice UTF-16 units
  return [characters.slice(0, line.stable).join(""), characters.slice(line.stable).join("")];
}

/** @param {Transcript} transcript @param {any} caption @returns {Transcript} */
function place(transcript, caption) {
  const line = {
    take: transcript.take,
    utterance: caption.utterance,
    text: caption.text,
    stable: caption.stable ?? 0,
    final: caption.type === "final",
    language: caption.language ?? "",
  };
  const former = transcript.lines.find((other) => same(other, line));
  if (former?.final) return transcript; // a final never changes; a late partial of it is old news
  const others = transcript.lines.filter((other) => other !== former);
  const after = others.findIndex((other) => other.take === line.take && other.utterance > line.utterance);
  const at = after < 0 ? others.length : after;
  return { ...transcript, lines: [...others.slice(0, at), line, ...others.slice(at)] };
}

/** @param {Transcript} transcript @param {{text: string, language?: string}} message @returns {Transcript} */
function whole({ take, lines }, { text, language = "" }) {
  const line = { take, utterance: 0, text, stable: 0, final: true, language };
  return { take, lines: [...lines.filter((other) => other.take !== take), line] };
}

/** What a broken session left growing stays as it is. @param {readonly Line[]} lines */
function settled(lines) {
  return lines.map((line) => (line.final ? line : { ...line, final: true }));
}

/** @param {Line} a @param {Line} b */
function same(a, b) {
  return a.take === b.take && a.utterance === b.utterance;
}
