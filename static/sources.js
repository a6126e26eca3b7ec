// @ts-check
/** Where the sound comes from: the microphones there are, or a tab. */

import { DISPLAY } from "./captions/client.js";

/** Chromium's names for whatever the system has chosen; the first choice means that here. */
const ALIASES = new Set(["", "default", "communications"]);

export class Sources {
  /** What is in use, or will be. */
  chosen = "";

  /**
   * @param {HTMLSelectElement} select
   * @param {MediaDevices | undefined} mediaDevices
   * @param {() => void} change somebody chose another one
   */
  constructor(select, mediaDevices, change) {
    this.select = select;
    this.mediaDevices = mediaDevices;
    select.addEventListener("change", () => {
      this.chosen = select.value;
      change();
    });
    mediaDevices?.addEventListener?.("devicechange", () => this.offer());
    void this.offer();
  }

  /** The choice, anew: browsers tell the names only after the microphone was allowed. */
  async offer() {
    const devices = (await this.mediaDevices?.enumerateDevices?.()) ?? [];
    const microphones = devices.filter(({ kind }) => kind === "audioinput");
    const known = microphones.filter(({ deviceId, label }) => label && !ALIASES.has(deviceId));
    const named = known.length > 1 ? known : []; // the only one is the browser's choice
    const options = [new Option("Microphone", ""), ...named.map(({ label, deviceId }) => new Option(label, deviceId))];
    if (this.mediaDevices?.getDisplayMedia) options.push(new Option("Tab or system sound", DISPLAY));
    this.select.replaceChildren(...options);
    this.show(options.some(({ value }) => value === this.chosen) ? this.chosen : "");
    /** @type {HTMLElement} */ (this.select.parentElement).hidden = options.length === 1;
  }

  /** @param {string} source another than was chosen, because that one is gone, or was not given */
  show(source) {
    this.chosen = this.select.value = source;
  }
}
