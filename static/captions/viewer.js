// @ts-check
/**
 * A room, followed: what was said before, then captions as they come. It waits for a room that does not exist yet,
 * comes back when the line breaks, and misses nothing that the server keeps. No DOM.
 */

import { Comeback } from "./comeback.js";
import { EMPTY, reduce } from "./transcript.js";
import { BROKEN, byEvents, bySocket } from "./ways.js";
import { browser } from "./world.js";

export { EMPTY, asText, parts } from "./transcript.js";

const OPEN_MS = 8_000; // the server speaks at once; a proxy that holds back what it says is found by its silence
const SILENT_MS = 50_000; // the server gives a sign of life every 15 s: the line is dead without a close
const SEEN_S = 2; // between two looks whether a room has begun, or begun again
const UNSEEN_S = 30; // the same where nobody sees the page; when somebody does, it looks at once
const SPREAD = 0.5; // of these pauses, at random: an audience does not come all at once
const NEWEST = "999999999999999"; // an offset behind all others

/** Refusals that time alone may change, and the state they make. @type {Record<string, State>} */
const LATER = { "room.not_found": "waiting", "room.expired": "expired" };

/** After these the server would say the same again. */
const NEVER = new Set(["request.invalid", "origin.forbidden", "auth.missing", "auth.invalid", "auth.expired"]);

/**
 * `waiting`: nobody has spoken there so far. `silent`: nobody speaks there now, but somebody may again. `ended`: nobody
 * came back. `expired`: what was said is not kept any more. In these it goes on to look, for a room may begin again.
 * `offline`: the line broke, or the server is away. `trouble`: refused for good; `error` tells why.
 * @typedef {"connecting" | "waiting" | "live" | "silent" | "ended" | "expired" | "offline" | "trouble"} State
 */

/**
 * Events: `caption` (detail: the server's partial, final or gap; `transcript` has it), `state` (State; also when
 * `degraded` changes) and `error` ({code, message}).
 */
export class CaptionViewer extends EventTarget {
  /** @type {State} */
  state = "connecting";
  transcript = EMPTY;
  /** Whether captions may be missing at the moment, and come later. */
  degraded = false;
  /** Of the room's counting; "" before the server told it. */
  #epoch = "";
  /** Whether somebody may be speaking, as the server last said. */
  #live = false;
  /** Whether this connection ever told anything. */
  #heard = false;
  #past;
  #ways = [bySocket, byEvents]; // the first is the one to use
  #hangUp = () => {};
  #comeback;
  /** @type {any} */
  #patience = null;

  /**
   * @param {string} server address of the server, https://…/; throws TypeError where it is none
   * @param {string} room
   * @param {{past?: boolean, world?: import("./world.js").World}} [options]
   *   `past`: whether what was said before is wanted too
   */
  constructor(server, room, { past = true, world = browser() } = {}) {
    super();
    this.server = new URL(".", server).href;
    this.room = room;
    this.world = world;
    this.#past = past;
    this.#comeback = new Comeback(() => this.#open(), world, Infinity);
  }

  /** Rejects and throws never: `state` tells. */
  follow() {
    this.#open();
  }

  /** No more events. */
  leave() {
    this.#release();
    this.#comeback.end();
  }

  #open() {
    this.#release();
    this.#heard = false;
    const address = new URL(`api/rooms/${encodeURIComponent(this.room)}`, this.server).href;
    this.#wait(OPEN_MS);
    this.#hangUp = this.#ways[0](
      address,
      this.#after(),
      this.world,
      (message) => this.#hear(message),
      (ending) => this.#ended(ending),
    );
  }

  /** What is known already, as the server wants it. */
  #after() {
    const { offset } = this.transcript;
    const known = offset || (this.#past ? 0 : NEWEST);
    return this.#epoch ? `${this.#epoch}:${known}` : this.#past ? "" : NEWEST;
  }

  /** @param {any} message */
  #hear(message) {
    this.#heard = true;
    this.#wait(SILENT_MS);
    switch (message?.type) {
      case "room":
        this.#comeback.up();
        this.#isIn(message);
        break;
      case "partial":
      case "final":
      case "gap":
        this.#show(message);
        break;
    }
  }

  /** @param {{epoch: string, live: boolean, degraded: boolean}} room */
  #isIn({ epoch, live, degraded }) {
    if (epoch !== this.#epoch && this.#epoch) {
      this.transcript = EMPTY; // the server lost what it had, and counts anew
      this.#tell("caption", { type: "room" });
    }
    this.#epoch = epoch;
    this.#live = live;
    if (!live) this.#show({ type: "done" });
    this.#enter(live ? "live" : this.state === "ended" ? "ended" : "silent", degraded);
  }

  /** @param {import("./ways.js").Ending} ending */
  #ended({ over, code, message, retry_after_s }) {
    this.#release();
    if (!this.#heard && !code) this.#ways.reverse();
    if (over && this.#heard && !this.#live) this.#rest("ended");
    else if (LATER[code]) this.#rest(LATER[code]);
    else if (NEVER.has(code)) {
      this.#comeback.end();
      this.#enter("trouble");
      this.#tell("error", { code, message });
    } else {
      this.#enter("offline");
      this.#comeback.again(retry_after_s);
    }
  }

  /** There is nothing to follow yet. @param {State} state */
  #rest(state) {
    if (state !== "ended") this.#past = true; // all of it will be new
    this.#enter(state);
    const pause_s = this.world.visible() ? SEEN_S : UNSEEN_S;
    this.#comeback.again(0, pause_s * (1 + SPREAD * this.world.random()));
  }

  /** @param {number} ms until the next message */
  #wait(ms) {
    this.world.clearTimeout(this.#patience);
    this.#patience = this.world.setTimeout(() => this.#ended(BROKEN), ms);
  }

  #release() {
    this.world.clearTimeout(this.#patience);
    this.#hangUp();
  }

  /** @param {any} message */
  #show(message) {
    const before = this.transcript;
    this.transcript = reduce(before, message);
    if (this.transcript !== before) this.#tell("caption", message);
  }

  /** @param {State} state */
  #enter(state, degraded = false) {
    if (state === this.state && degraded === this.degraded) return;
    this.state = state;
    this.degraded = degraded;
    this.#tell("state", state);
  }

  /** @param {string} type @param {unknown} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
