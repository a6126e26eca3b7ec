// @ts-check
/** When to knock again after the line broke. */

// At once after a hiccup; then often while a server that was started anew comes up, which takes a second or two; then
// in growing pauses, patient with a dead one.
const SOON_S = 0.2;
const SOON = 15; // tries
const GROWTH = 1.25;
const LONGEST_S = 7;
const JITTER = 0.2; // of the pause, either way: clients that were cut off together do not come back together
const GIVE_UP_MS = 10 * 60_000; // as long as the server's tickets last
const STEADY_MS = 2_000; // a line that held so long was a good one; a shorter one was part of the same trouble

/** Of the registered codes (RFC 6455, 7.4): going away, broken, internal error, restart, try again later. */
const PASSING = new Set([1001, 1006, 1011, 1012, 1013]);

/** Whether a close code means "come back" (docs/protocol.md, errors). @param {number} code */
export function passes(code) {
  return PASSING.has(code) || (code >= 4000 && code < 4500);
}

/** @param {number} attempt from 0 @param {number} random 0 to 1 @returns {number} seconds */
export function pause(attempt, random) {
  if (attempt === 0) return 0;
  const grown = SOON_S * GROWTH ** Math.max(0, attempt - SOON);
  return Math.min(LONGEST_S, grown) * (1 + JITTER * (2 * random - 1));
}

export class Comeback {
  #attempt = 0;
  /** @type {number | null} when the trouble began */
  #since = null;
  /** @type {number | null} when the line came back */
  #upSince = null;
  /** Before this the server wants no knock. */
  #notBefore = 0;
  /** @type {any} */
  #timer = null;

  /**
   * @param {() => void} knock
   * @param {import("./world.js").World} world
   * @param {number} [patience_ms] after which nobody knocks any more
   */
  constructor(knock, world, patience_ms = GIVE_UP_MS) {
    this.knock = knock;
    this.world = world;
    this.patience_ms = patience_ms;
    world.events.addEventListener("online", this.#online);
    world.events.addEventListener("visibilitychange", this.#seen);
  }

  /**
   * The line broke, or did not come back: knocks after the next pause.
   * @param {number} asked_s what the server asks for, at least
   * @param {number} wished_s what we would wait at least, unless there is reason to hurry
   * @returns {boolean} false when it was tried for long enough
   */
  again(asked_s = 0, wished_s = 0) {
    const now = this.world.now();
    if (this.#upSince !== null && now - this.#upSince >= STEADY_MS) {
      this.#attempt = 0;
      this.#since = null;
    }
    this.#upSince = null;
    this.#since ??= now;
    if (now - this.#since >= this.patience_ms) return false;
    const pause_s = Math.max(pause(this.#attempt++, this.world.random()), asked_s, wished_s);
    this.#notBefore = now + asked_s * 1000;
    this.#wait(pause_s * 1000);
    return true;
  }

  /** The line is up again. */
  up() {
    this.#stay();
    this.#upSince = this.world.now();
  }

  /** Nobody knocks any more, whatever happens. */
  end() {
    this.#stay();
    this.world.events.removeEventListener("online", this.#online);
    this.world.events.removeEventListener("visibilitychange", this.#seen);
  }

  /** The network is back: no need to wait longer, nor for an answer to a knock that nobody may have heard. */
  #online = () => {
    if (this.#since !== null && this.#upSince === null) this.#hurry();
  };

  /** A hidden tab's timers are slow, a phone's stand still. */
  #seen = () => {
    if (this.#timer !== null && this.world.visible()) this.#hurry();
  };

  #hurry() {
    this.#wait(Math.max(0, this.#notBefore - this.world.now()));
  }

  #stay() {
    this.world.clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** @param {number} ms */
  #wait(ms) {
    this.#stay();
    this.#timer = this.world.setTimeout(() => {
      this.#timer = null;
      this.knock();
    }, ms);
  }
}
