// @ts-check
/** The way to a room for others: a link, a code for the cameras of phones, and a link for an overlay. */

import { openBeside } from "./menu.js";

const COPIED_MS = 2_000;
const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/;
const ONLY_HERE = "Only this computer can open it: the server listens to no other.";

/** Fills an empty menu, and shows its button as soon as there is a room. */
export class Share {
  #room = "";

  /** @param {HTMLElement} menu @param {HTMLElement} button */
  constructor(menu, button) {
    this.button = button;
    this.code = made("img", { className: "code", alt: "QR code of the link", width: 232, height: 232 });
    this.link = made("a", { className: "address", target: "_blank" });
    const here = made("p", { className: "aside", textContent: ONLY_HERE, hidden: !LOOPBACK.test(location.hostname) });
    const send = action("Share…", () => void navigator.share({ title: document.title, url: this.link.href }).catch(() => {}));
    send.hidden = !navigator.share;
    const copy = action("Copy link", () => this.#copy(copy, this.link.href));
    const overlay = action("Copy link for OBS", () => this.#copy(overlay, this.#page("overlay")));
    menu.append(this.code, this.link, here, copy, send, overlay);
    // Where a proxy changes the name of the server there is no code; the link is right even so.
    this.code.addEventListener("error", () => (this.code.hidden = true));
    menu.addEventListener("beforetoggle", () => this.#draw());
    openBeside(menu, button, "below");
    this.room = "";
  }

  get room() {
    return this.#room;
  }

  /** "" for none. */
  set room(name) {
    this.#room = name;
    this.button.hidden = !name;
    this.link.href = this.link.textContent = this.#page("watch");
  }

  #draw() {
    const base = new URL(".", document.baseURI).href;
    const path = `api/rooms/${encodeURIComponent(this.#room)}/qr.svg?base=${encodeURIComponent(base)}`;
    const src = new URL(path, base).href;
    if (this.code.src === src) return;
    this.code.hidden = false;
    this.code.src = src;
  }

  /** @param {string} page */
  #page(page) {
    return new URL(`${page}?room=${encodeURIComponent(this.#room)}`, document.baseURI).href;
  }

  /** @param {HTMLElement} button @param {string} text */
  async #copy(button, text) {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = label), COPIED_MS);
    } catch {
      getSelection()?.selectAllChildren(this.link); // not allowed: it can be copied by hand
    }
  }
}

/** @param {string} label @param {() => void} act */
function action(label, act) {
  const button = made("button", { className: "quiet", type: "button", textContent: label });
  button.addEventListener("click", act);
  return button;
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} properties
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
