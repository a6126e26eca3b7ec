// @ts-check
/** How captions are read: the size of the letters, the whole screen for them, and a screen that stays awake. */

import { remember, remembered } from "./remembered.js";

const SIZES = [0.75, 1, 1.35, 1.8, 2.4]; // of the usual size
const USUAL = 1;
const STILL_MS = 3_000; // so long nobody moves: on the whole screen there is nothing but captions then

/** @param {HTMLInputElement} slider a range; gets one step for each size */
export function offerSizes(slider) {
  const size = (/** @type {string} */ step) => {
    slider.value = step;
    document.documentElement.style.setProperty("--size", String(SIZES[slider.valueAsNumber]));
    slider.setAttribute("aria-valuetext", `${Math.round(SIZES[slider.valueAsNumber] * 100)} %`);
  };
  slider.max = String(SIZES.length - 1);
  size(remembered("size") || String(USUAL));
  slider.addEventListener("input", () => {
    size(slider.value);
    remember("size", slider.value);
  });
}

/** @param {HTMLElement} button */
export function offerFullScreen(button) {
  const root = document.documentElement;
  button.hidden = !document.fullscreenEnabled; // iPhones have it for films only
  button.addEventListener("click", () => {
    void (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen());
  });
  /** @type {ReturnType<typeof setTimeout>} */
  let rest;
  const stir = () => {
    clearTimeout(rest);
    root.classList.remove("still");
    if (document.fullscreenElement) rest = setTimeout(() => root.classList.add("still"), STILL_MS);
  };
  for (const kind of ["pointermove", "pointerdown", "keydown"]) addEventListener(kind, stir, { passive: true });
  addEventListener("fullscreenchange", () => {
    button.textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
    stir();
  });
}

/** A phone that is only listened to goes dark otherwise. Where it is refused, nothing is lost. */
export class WakeLock {
  /** @type {WakeLockSentinel | null} */
  #lock = null;
  #wanted = false;

  constructor() {
    addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && this.#wanted) this.hold(); // a hidden tab loses it
    });
  }

  hold() {
    this.#wanted = true;
    navigator.wakeLock?.request("screen").then(
      (lock) => {
        void this.#lock?.release();
        this.#lock = lock;
        if (!this.#wanted) this.release();
      },
      () => {},
    );
  }

  release() {
    this.#wanted = false;
    void this.#lock?.release();
    this.#lock = null;
  }
}
