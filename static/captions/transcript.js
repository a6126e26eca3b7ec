// @ts-check
/** The transcript as a value: `reduce(transcript, message)` gives the next one. No DOM, no socket, no clock. */

/**
 * One utterance. `stable` counts characters (code points) that will not change any more.
 * A take is one start and stop. It is one session of the server, or more where one could not go on; utterances
 * begin again in each, and so does the time line: `start` and `end` are its seconds.
 * @typedef {object} Line
 * @property {number} take
 * @property {number | string} session the server's name for it, where it is told
 * @property {number} utterance
 * @property {string} text
 * @property {number} stable
 * @property {boolean} final
 * @property {string} language
 * @property {number} start
 * @property {number} end
 * @property {readonly {text: string, start: number, end: number}[]} words empty where the engine has no word times
 * @property {number} missing so many finals before it are lost
 *
 * Finals stand first, in their order; what grows is below.
 * `offset`: that of the newest final, 0 before the first of this session. `missing`: finals lost behind it. `again`:
 * what grows is of a session that could not go on, and its sound is heard again in the new one.
 * @typedef {{take: number, session: number, offset: number, missing: number, lines: readonly Line[], again?: boolean}}
 *   Transcript
 */

/** @type {Transcript} */
export const EMPTY = Object.freeze({ take: 0, session: 0, offset: 0, missing: 0, lines: Object.freeze([]) });

/**
 * Messages: the protocol's `partial`, `final`, `gap` and `done`, and three of our own: `take` (somebody starts), `anew`
 * (a new session goes on for one that could not) and `whole` (the `finals` of the whole recording, which replace what
 * this take had). Others change nothing.
 * @param {Transcript} transcript
 * @param {any} message
 * @returns {Transcript}
 */
export function reduce(transcript, message) {
  switch (message.type) {
    case "take":
      return { ...begun(transcript), take: transcript.take + 1, lines: settled(transcript.lines) };
    case "anew":
      return { ...begun(transcript), again: true };
    case "partial":
      return place(heard(transcript), message);
    case "final":
      return settle(heard(transcript), message);
    case "gap":
      return { ...transcript, offset: message.last, missing: transcript.missing + message.last - message.first + 1 };
    case "done": // all is final; what still grows was cut otherwise before the line broke
      return { ...transcript, lines: transcript.lines.filter((line) => line.final) };
    case "whole":
      return whole(transcript, message.finals);
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
 * What is final on one time line, for subtitles: a session begins where the last words of the former one end.
 * @param {Transcript} transcript
 */
export function finals({ lines }) {
  let [session, before, reached] = /** @type {[Line["session"], number, number]} */ ([0, 0, 0]);
  const later = (/** @type {{start: number, end: number}} */ { start, end }) => ({
    start: before + start,
    end: before + end,
  });
  return lines
    .filter(({ final, text }) => final && text.trim())
    .map((line) => {
      if (line.session !== session) [session, before] = [line.session, reached];
      reached = Math.max(reached, before + line.end);
      const words = line.words.map((word) => ({ ...word, ...later(word) }));
      return { ...later(line), text: line.text.trim(), words, language: line.language };
    });
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

/** @param {Transcript} transcript @returns {Transcript} */
function begun({ take, session, lines }) {
  return { take, session: session + 1, offset: 0, missing: 0, lines };
}

/** A new session's first caption: what grew in the former one is in its sound. @param {Transcript} transcript */
function heard(transcript) {
  if (!transcript.again) return transcript;
  return { ...transcript, again: false, lines: transcript.lines.filter((line) => line.final) };
}

/**
 * Finals come in order; after a resume some come again.
 * @param {Transcript} transcript
 * @param {any} final
 */
function settle(transcript, final) {
  if (final.offset <= transcript.offset) return transcript;
  const { session } = lineOf(transcript, final);
  // The sound before a final is final: a growing line there is of an utterance that was cut otherwise after a resume.
  const lines = transcript.lines.filter(
    (line) => line.session !== session || line.final || line.utterance >= final.utterance,
  );
  const placed = place({ ...transcript, offset: final.offset ?? transcript.offset, lines }, final);
  return { ...placed, missing: 0 };
}

/** @param {Transcript} transcript @param {any} caption @returns {Transcript} */
function place(transcript, caption) {
  const line = lineOf(transcript, caption);
  const former = transcript.lines.find((other) => same(other, line));
  if (former?.final) return transcript; // a final never changes; a late partial of it is old news
  if (former && !line.final) {
    return { ...transcript, lines: transcript.lines.map((other) => (other === former ? line : other)) };
  }
  const others = transcript.lines.filter((other) => other !== former);
  const below = (/** @type {Line} */ other) =>
    !other.final && (line.final || (other.session === line.session && other.utterance > line.utterance));
  const after = others.findIndex(below);
  const at = after < 0 ? others.length : after;
  return { ...transcript, lines: [...others.slice(0, at), line, ...others.slice(at)] };
}

/** @param {Transcript} transcript @param {any} caption @returns {Line} */
function lineOf({ take, session, missing }, caption) {
  return {
    take,
    session: caption.session ?? session,
    utterance: caption.utterance,
    text: caption.text,
    stable: caption.stable ?? 0,
    final: caption.type === "final",
    language: caption.language ?? "",
    start: caption.start ?? 0,
    end: caption.end ?? 0,
    words: caption.words ?? [],
    missing,
  };
}

/**
 * Where it has no words, what was there stays.
 * @param {Transcript} transcript
 * @param {{text: string}[]} finals
 * @returns {Transcript}
 */
function whole(transcript, finals) {
  if (!finals.some(({ text }) => text.trim())) return { ...transcript, lines: settled(transcript.lines) };
  const kept = transcript.lines.filter((line) => line.take !== transcript.take);
  const lines = finals.map((final, i) => lineOf(transcript, { ...final, utterance: i + 1, type: "final" }));
  return { ...transcript, lines: [...kept, ...lines] };
}

/** What a take left growing stays as it is. @param {readonly Line[]} lines */
function settled(lines) {
  return lines.map((line) => (line.final ? line : { ...line, final: true }));
}

/** @param {Line} a @param {Line} b */
function same(a, b) {
  return a.session === b.session && a.utterance === b.utterance;
}
