// @ts-check
/**
 * Captions that roll up, as on television: words fill a line from the left, and a full line moves up. A break that was
 * made stays, because text only ever comes behind it, and what goes above goes in whole paragraphs.
 */

import { parts } from "./captions/transcript.js";

const PAUSE_S = 3; // of speech; what comes after it begins a line
const LONGEST = 400; // characters, half a minute of speech, after which the next sentence begins a line
const ROLL_MS = 150;

/** @typedef {import("./captions/transcript.js").Line} Line */

/**
 * What is written without a break: what one person says in one go.
 * @param {readonly Line[]} lines
 * @returns {Line[][]}
 */
export function paragraphs(lines) {
  /** @type {Line[][]} */
  const found = [];
  let length = 0;
  for (const line of lines) {
    const former = found.at(-1)?.at(-1);
    const goesOn = former?.session === line.session && line.start - former.end < PAUSE_S && length < LONGEST;
    if (!goesOn) length = 0;
    length += line.text.length;
    if (goesOn) found.at(-1)?.push(line);
    else found.push([line]);
  }
  return found;
}

export class RollUp {
  /** @type {Map<string, HTMLElement>} by the first line of a paragraph */
  #elements = new Map();

  /**
   * @param {HTMLElement} words grows upward in a window that hides what is above
   * @param {{lines: number, settled: boolean, still: MediaQueryList}} options
   *   `settled`: without words that may still change; `still`: whether nothing should roll
   */
  constructor(words, { lines, settled, still }) {
    this.words = words;
    this.lines = lines;
    this.settled = settled;
    this.still = still;
    new ResizeObserver(() => this.#loosen()).observe(/** @type {HTMLElement} */ (words.parentElement));
  }

  /** @param {readonly Line[]} said */
  render(said) {
    const shown = said
      .map((line) => (this.settled && !line.final ? { ...line, text: parts(line)[0] } : line))
      .filter(({ text }) => text.trim());
    const all = paragraphs(shown);
    const kept = all.slice(-this.lines); // each has a line at least: older ones are above the window
    const firsts = kept.map(([first]) => `${first.session}.${first.utterance}`);
    for (const [first, element] of this.#elements) {
      if (firsts.includes(first)) continue;
      element.remove();
      this.#elements.delete(first);
    }
    const height = this.words.offsetHeight;
    for (const [i, paragraph] of kept.entries()) {
      const element = this.#elements.get(firsts[i]) ?? this.#make(firsts[i]);
      const former = all[all.length - kept.length + i - 1];
      element.classList.toggle("new-voice", former !== undefined && former[0].session !== paragraph[0].session);
      fill(element, paragraph);
      if (this.words.children[i] !== element) this.words.insertBefore(element, this.words.children[i] ?? null);
      // A word that is taken back must not pull down what was read: the line stays, for the next words.
      const last = i === kept.length - 1;
      element.style.minHeight = last ? `${element.offsetHeight}px` : "";
    }
    this.#roll(this.words.offsetHeight - height);
  }

  /** @param {number} up pixels */
  #roll(up) {
    if (up <= 0 || this.still.matches) return;
    this.words.animate([{ transform: `translateY(${up}px)` }, { transform: "none" }], {
      duration: ROLL_MS,
      easing: "ease-out",
    });
  }

  /** @param {string} first */
  #make(first) {
    const element = document.createElement("p");
    element.dir = "auto";
    element.append(document.createElement("span"));
    this.#elements.set(first, element);
    return element;
  }

  /** In another width lines break elsewhere. */
  #loosen() {
    for (const element of this.#elements.values()) element.style.minHeight = "";
  }
}

/** @param {HTMLElement} element @param {readonly Line[]} paragraph */
function fill(element, paragraph) {
  const text = paragraph.map((line) => line.text.trim()).join(" ");
  if (element.children[0].textContent !== text) element.children[0].textContent = text;
  const { language } = paragraph[0];
  if (language) element.lang = language;
}
