// @ts-check
/** How loud the microphone is, drawn as bars that move from right to left. */

const BARS = 40;
const STEP_MS = 60; // one bar each; two seconds and a half are in view
const QUIET_DB = -60;
const LOUD_DB = -12;
const HEARD_DB = -50; // anything above a muted microphone's floor

export class Meter {
  #levels = new Float32Array(BARS);
  #frame = 0;
  #latest = 0;
  /** @type {AudioContext | null} */
  #context = null;
  /** Whether anything louder than a muted microphone came since start. */
  heard = false;

  /**
   * @param {HTMLElement} element gets role=meter's value, and one child per bar
   * @param {{AudioContext?: typeof globalThis.AudioContext, still: MediaQueryList}} world
   *   `still`: the person wants no motion
   */
  constructor(element, world) {
    this.element = element;
    this.world = world;
    this.bars = Array.from({ length: BARS }, () => element.appendChild(document.createElement("i")));
    this.#draw();
  }

  /** @param {MediaStream} stream */
  start(stream) {
    this.stop();
    this.heard = false;
    if (!this.world.AudioContext) return;
    this.#context = new this.world.AudioContext();
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 2048;
    this.#context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const tick = (/** @type {number} */ now) => {
      this.#frame = requestAnimationFrame(tick);
      if (now - this.#latest < STEP_MS) return;
      this.#latest = now;
      analyser.getFloatTimeDomainData(samples);
      this.#push(decibels(samples));
    };
    this.#frame = requestAnimationFrame(tick);
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    void this.#context?.close();
    this.#context = null;
    this.#levels.fill(0);
    this.#draw();
  }

  /** @param {number} db */
  #push(db) {
    if (db > HEARD_DB) this.heard = true;
    const level = Math.min(1, Math.max(0, (db - QUIET_DB) / (LOUD_DB - QUIET_DB)));
    if (this.world.still.matches) {
      // One still gauge instead of a moving picture: bars up to the level are lit.
      this.#levels.fill(0).fill(0.5, 0, Math.round(level * BARS));
    } else {
      this.#levels.copyWithin(0, 1);
      this.#levels[BARS - 1] = level;
    }
    this.#draw(level);
  }

  #draw(level = 0) {
    this.element.setAttribute("aria-valuenow", String(Math.round(level * 100)));
    for (const [i, bar] of this.bars.entries()) bar.style.transform = `scaleY(${Math.max(0.1, this.#levels[i])})`;
  }
}

/** Root mean square of the samples in dB of full scale. @param {Float32Array} samples */
function decibels(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return 10 * Math.log10(sum / samples.length + 1e-12);
}
