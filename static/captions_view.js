// @ts-check
/** The transcript on the page: finals in a list that is read aloud, growing lines below it, which are not. */

import { parts } from "./captions/transcript.js";
import { lost } from "./sentences.js";

const NEAR_END_PX = 48; // closer than this to the end, the reader is following

export class CaptionsView {
  /** @type {Map<string, HTMLElement>} */
  #elements = new Map();
  /** @type {WeakMap<HTMLElement, import("./captions/transcript.js").Line>} what each was filled with */
  #filled = new WeakMap();
  #following = true;

  /**
   * @param {{scroller: HTMLElement, finals: HTMLElement, partials: HTMLElement, newest: HTMLElement}} elements
   *   `newest`: the button that leads back to the end
   */
  constructor({ scroller, finals, partials, newest }) {
    this.scroller = scroller;
    this.finals = finals;
    this.partials = partials;
    this.newest = newest;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    newest.addEventListener("click", () => {
      this.#following = true;
      this.follow();
      scroller.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.follow()).observe(scroller);
  }

  /** @param {import("./captions/transcript.js").Transcript} transcript */
  render(transcript) {
    const shown = new Map(transcript.lines.filter((line) => line.text.trim()).map((line) => [key(line), line]));
    for (const [id, element] of this.#elements) {
      if (shown.has(id)) continue;
      element.remove();
      this.#elements.delete(id);
    }
    let before = /** @type {HTMLElement | null} */ (null);
    let former = /** @type {import("./captions/transcript.js").Line | null} */ (null);
    for (const [id, line] of shown) {
      const element = this.#elements.get(id) ?? this.#make(id);
      if (this.#filled.get(element) !== line) fill(element, line);
      this.#filled.set(element, line);
      element.classList.toggle("new-take", former !== null && line.take !== former.take);
      element.classList.toggle("new-voice", former !== null && line.session !== former.session);
      former = line;
      const list = line.final ? this.finals : this.partials;
      if (before?.parentElement !== list) before = null;
      /** @type {Element | null} */
      const next = before ? before.nextElementSibling : list.firstElementChild;
      if (element !== next) list.insertBefore(element, next);
      before = element;
    }
    this.follow();
  }

  /** Shows the end again if the reader was there. */
  follow() {
    if (this.#following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.newest.hidden = this.#following;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    this.newest.hidden = this.#following;
  }

  /** @param {string} id */
  #make(id) {
    const element = document.createElement("p");
    element.className = "line";
    element.dir = "auto";
    this.#elements.set(id, element);
    return element;
  }
}

/** @param {HTMLElement} element @param {import("./captions/transcript.js").Line} line */
function fill(element, line) {
  const [settled, unstable] = parts(line);
  if (element.childElementCount === 0) {
    element.append(document.createElement("span"), document.createElement("span"));
    element.children[1].className = "unstable";
  }
  for (const [i, text] of [settled, unstable].entries()) {
    if (element.children[i].textContent !== text) element.children[i].textContent = text;
  }
  if (line.language) element.lang = line.language;
  if (line.missing) element.dataset.lost = lost(line.missing);
}

/**
 * A final is a new element, in the other list: that is what makes a screen reader say it.
 * @param {import("./captions/transcript.js").Line} line
 */
function key(line) {
  return `${line.session}.${line.utterance}.${line.final ? "final" : "partial"}`;
}
