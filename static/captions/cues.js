// @ts-check
/**
 * Captions for reading: what was said, cut into cues that can be read in the time they are shown.
 *
 * The twin of server/speech/cues.py, which says where the limits and the method come from. Both are held to the same
 * cases (tests/cues.json), so all times here are whole milliseconds.
 */

const LINE = 42; // characters
const SHORTEST_MS = 833;
const LONGEST_MS = 7000;
const CHARACTER_MS = 50; // 20 characters per second

// The cost of a cut, and of what is between two cuts. Only their proportions matter.
const CUE = 1000; // each cue: rather few than many
const FILL = 3; // characters², divided by this: rather two halves than a long and a short one
const CUTS = [0, 1000, 3000]; // behind a sentence, a clause, any word
const ACROSS = 3000; // one utterance and the next in one cue: a pause is lost
const LACK = 20; // a millisecond too short to be read; 0.15 s outweigh a lost pause
const PAUSE = 4; // a millisecond of silence inside of a cue, beyond …
const BREATH_MS = 200;
const WRAPS = [0, 300, 600]; // the same between the two lines of a cue, and …
const RAGGED = 10; // a character by which they differ

// Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han. (Hangul is written with spaces.)
const UNSPACED =
  "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff";
const OPENING = "「『（〈《【〔";
// One character of a script without spaces with what belongs to it, or a run of anything else.
const PIECE = new RegExp(
  `[${OPENING}]?[${UNSPACED}][^\\p{L}\\p{N}_\\s${OPENING}]*|[^\\s${UNSPACED}]+?(?=[${OPENING}]?[${UNSPACED}]|\\s|$)`,
  "gu",
);
const LETTER = /[\p{L}\p{N}]/gu;
const SENTENCE = /[.!?…。！？]["'”’»)\]」』）]*$/u;
const CLAUSE = /[,;:—–、，；：]["'”’»)\]」』）]*$/u;
// Drawn as wide as two: Hangul, kana, Han, full forms, emoji (UAX #11).
const WIDE = new RegExp(
  "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6" +
    "\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]",
  "gu",
);

/**
 * What was said in one go; seconds. `words` is empty where the engine gives no word times.
 * @typedef {{text: string, start: number, end: number}} Word
 * @typedef {{start: number, end: number, text: string, words?: readonly Word[]}} Final
 * One or two lines, shown from `start` to `end` (milliseconds).
 * @typedef {{start: number, end: number, lines: string[]}} Cue
 * What is never cut: a word, at most as long as a line. `space`: before it. `first`: of its final. `cut`, `wrap`: the
 * cost of a cut, or of a new line, behind it.
 * @typedef {{text: string, width: number, space: boolean, first: boolean, start: number, end: number, cut: number,
 *   wrap: number}} Token
 */

/**
 * Every word once and in order, in cues that do not overlap. Where more is said than can be read, cues are as short
 * as allowed, and may come later than the speech.
 * @param {readonly Final[]} finals
 * @returns {Cue[]}
 */
export function cues(finals) {
  const tokens = finals.flatMap((final) => [...tokensOf(final)]);
  const cuts = cheapest(tokens);
  return placed(cuts.slice(1).map((end, i) => tokens.slice(cuts[i], end)));
}

// -- words and when they were said -------------------------------------------------------------------------------

/**
 * A text's words with their times: those of the engine, or spread evenly over its letters.
 * @param {Final} final
 * @returns {Generator<Token>}
 */
function* tokensOf(final) {
  const pieces = [...piecesOf(final.text)];
  const needed = pieces.reduce((sum, [text]) => sum + letters(text), 0);
  const spans = spansOf(final);
  const given = spans.reduce((sum, span) => sum + span.letters, 0);
  let [span, before, at] = [0, 0, 0]; // letters of the spans before this one, letters of the text so far
  const time = () => {
    // Text and words may be written differently (20, twenty): the letters of one are stretched over the other's.
    const { letters, start, end } = spans[span];
    return Math.floor(start + (end - start) * ((at * given - before * needed) / (letters * needed)));
  };
  for (const [i, [text, space]] of pieces.entries()) {
    while ((before + spans[span].letters) * needed <= at * given) before += spans[span++].letters;
    const start = time();
    at += letters(text);
    while ((before + spans[span].letters) * needed < at * given) before += spans[span++].letters;
    const last = i === pieces.length - 1;
    const kind = last || text.search(SENTENCE) >= 0 ? 0 : text.search(CLAUSE) >= 0 ? 1 : 2;
    const [cut, wrap] = [CUTS[kind], WRAPS[kind]];
    yield { text, width: width(text), space, first: i === 0, start, end: time(), cut, wrap };
  }
}

/**
 * What a text is made of, and whether there is a space before it. What is longer than a line is cut.
 * @param {string} text
 * @returns {Generator<[string, boolean]>}
 */
function* piecesOf(text) {
  for (const match of text.matchAll(PIECE)) {
    let space = match.index === 0 || /\s/.test(text[match.index - 1]);
    let [piece, size] = ["", 0];
    for (const character of match[0]) {
      if (size + width(character) > LINE) {
        yield [piece, space];
        [piece, size, space] = ["", 0, false];
      }
      [piece, size] = [piece + character, size + width(character)];
    }
    yield [piece, space];
  }
}

/**
 * The engine's words, or the whole text as one; in order, and inside of the final.
 * @param {Final} final
 * @returns {{letters: number, start: number, end: number}[]}
 */
function spansOf({ start, end, words = [] }) {
  let earliest = milliseconds(start);
  const latest = Math.max(earliest, milliseconds(end));
  if (words.length === 0) return [{ letters: 1, start: earliest, end: latest }];
  return words.map((word) => {
    const start = Math.min(Math.max(milliseconds(word.start), earliest), latest);
    earliest = Math.min(Math.max(milliseconds(word.end), start), latest);
    return { letters: letters(word.text), start, end: earliest };
  });
}

/** @param {string} text */
function letters(text) {
  return Math.max(1, count(text, LETTER));
}

/** In characters; those of East Asian scripts count twice. @param {string} text */
export function width(text) {
  return Array.from(text).length + count(text, WIDE);
}

/** @param {string} text @param {RegExp} pattern */
function count(text, pattern) {
  return text.match(pattern)?.length ?? 0;
}

/** @param {number} seconds */
function milliseconds(seconds) {
  return Math.floor(seconds * 1000 + 0.5);
}

// -- where to cut ------------------------------------------------------------------------------------------------

/**
 * The cheapest way: the token each cue begins with, and the end.
 * @param {readonly Token[]} tokens
 */
function cheapest(tokens) {
  const costs = [0, ...tokens.map(() => Infinity)];
  const former = [0, ...tokens.map(() => 0)];
  for (let i = 0; i < tokens.length; i++) {
    for (const [j, cost] of ways(tokens, i)) {
      if (costs[i] + cost < costs[j]) [costs[j], former[j]] = [costs[i] + cost, i];
    }
  }
  const cuts = [tokens.length];
  while (cuts[0] > 0) cuts.unshift(former[cuts[0]]);
  return cuts;
}

/**
 * Where a cue that begins with token `i` may end, and at what cost.
 * @param {readonly Token[]} tokens
 * @param {number} i
 * @returns {Generator<[number, number]>}
 */
function* ways(tokens, i) {
  const { start } = tokens[i];
  let [upper, lower] = [0, 0]; // characters in its lines, when the first is as full as can be
  let lost = 0; // what it costs that some tokens are not cut apart
  for (let j = i; j < tokens.length; j++) {
    const token = tokens[j];
    const size = token.width + (token.space && j > i ? 1 : 0);
    if (j > i) {
      lost += (token.first ? ACROSS : 0) + PAUSE * Math.max(0, token.start - tokens[j - 1].end - BREATH_MS);
      if (token.end - start > LONGEST_MS) return;
    }
    if (lower === 0 && upper + size <= LINE) upper += size;
    else lower += lower ? size : token.width;
    if (lower > LINE) return;
    const both = upper + lower;
    let cost = CUE + Math.floor((both * both) / FILL) + lost + token.cut;
    if (j + 1 < tokens.length) cost += LACK * Math.max(0, needed(both) - (tokens[j + 1].start - start));
    yield [j + 1, cost];
  }
}

/** Milliseconds to read so many characters. @param {number} size */
function needed(size) {
  return Math.max(SHORTEST_MS, size * CHARACTER_MS);
}

// -- lines and times ---------------------------------------------------------------------------------------------

/**
 * As long as it takes to read, as far as the next one lets it, and no cue before the former one is gone.
 * @param {Token[][]} groups
 * @returns {Cue[]}
 */
function placed(groups) {
  let free = 0;
  return groups.map((tokens, n) => {
    const lines = linesOf(tokens);
    const start = Math.max(free, tokens[0].start);
    const size = lines.reduce((sum, line) => sum + width(line), 0);
    const wanted = Math.max(tokens[tokens.length - 1].end, start + needed(size));
    const end = Math.min(wanted, groups[n + 1]?.[0].start ?? Infinity);
    free = Math.min(Math.max(end, start + SHORTEST_MS), start + LONGEST_MS);
    return { start, end: free, lines };
  });
}

/**
 * One line where it fits; else two, broken at an end of sense, else in the middle.
 * @param {readonly Token[]} tokens
 * @returns {string[]}
 */
function linesOf(tokens) {
  const whole = written(tokens);
  if (width(whole) <= LINE) return [whole];
  /** @type {[number, string[]]} */
  let [best, lines] = [Infinity, []];
  for (let k = 1; k < tokens.length; k++) {
    const two = [written(tokens.slice(0, k)), written(tokens.slice(k))];
    const [upper, lower] = two.map(width);
    const cost = tokens[k - 1].wrap + RAGGED * Math.abs(upper - lower);
    if (Math.max(upper, lower) <= LINE && cost < best) [best, lines] = [cost, two];
  }
  return lines;
}

/** @param {readonly Token[]} tokens */
function written(tokens) {
  return tokens.map(({ text, space }, i) => (space && i > 0 ? ` ${text}` : text)).join("");
}
