// @ts-check
/** One live session over a WebSocket: bytes go out, captions come in, and it ends once. */

const OPEN_MS = 8_000; // a proxy that swallows WebSockets often answers nothing at all
const LATE_MS = 4_000; // the last words come in a second or two after stop; after this somebody wants to know
const DONE_MS = 130_000; // the longest silence after stop: the server asks its engine for two minutes
const KEEPALIVE_MS = 10_000; // well within the server's idle limit of a minute

/** Close codes from here on mean "stop"; those below mean "come back". */
const FATAL_CLOSE = 4500;

/**
 * How it ended. `done`: all is captioned. `blocked`: it never opened. `refused`: the server said no, and would again.
 * `lost`: it broke on the way.
 * @typedef {{how: "done" | "blocked" | "refused" | "lost", code: string, message: string, param: string, done?: any}}
 *   Ending
 */

/**
 * Events: `ready`, `caption`, `warning` (detail: the server's message), `late` (the last words take long) and, once,
 * `end` (detail: Ending).
 */
export class Connection extends EventTarget {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Blob[]} what was said while the socket was still opening */
  #waiting = [];
  #ready = false;
  #stopping = false;
  #stopSent = false;
  #ended = false;
  #sentSince = false;
  #fault = { code: "", message: "", param: "" };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #deadline;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #late;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #heartbeat;

  /**
   * @param {string} url ws: or wss:, with the session's options as query
   * @param {{WebSocket?: typeof globalThis.WebSocket}} world
   */
  constructor(url, { WebSocket }) {
    super();
    this.#deadline = setTimeout(() => this.#end("blocked"), OPEN_MS);
    try {
      if (!WebSocket) throw new TypeError("this browser has no WebSocket");
      this.#socket = new WebSocket(url);
    } catch {
      queueMicrotask(() => this.#end("blocked"));
      return;
    }
    this.#socket.addEventListener("open", () => this.#opened());
    this.#socket.addEventListener("message", ({ data }) => this.#heard(JSON.parse(data)));
    this.#socket.addEventListener("close", ({ code }) => this.#closed(code));
  }

  /** Sends the next bytes of the recording, in order; keeps them while the socket is opening. @param {Blob} chunk */
  send(chunk) {
    if (this.#ended) return;
    if (this.#socket?.readyState !== 1) {
      this.#waiting.push(chunk);
      return;
    }
    this.#socket.send(chunk);
    this.#sentSince = true;
  }

  /** Nothing more will be said: the server flushes, says `done`, and the session ends. */
  stop() {
    if (this.#ended || this.#stopping) return;
    this.#stopping = true;
    if (this.#socket?.readyState === 1) this.#sendStop();
  }

  /** Gives up without a word. */
  abandon() {
    this.#ended = true;
    this.#release();
  }

  #opened() {
    for (const chunk of this.#waiting.splice(0)) this.send(chunk);
    this.#heartbeat = setInterval(() => this.#keepAlive(), KEEPALIVE_MS);
    if (this.#stopping) this.#sendStop();
  }

  #sendStop() {
    this.#stopSent = true;
    this.#waitOn();
    this.#late = setTimeout(() => this.dispatchEvent(new Event("late")), LATE_MS);
    this.#socket?.send(JSON.stringify({ type: "stop" }));
  }

  /** After stop: as long as the server says anything at all, it is at work. */
  #waitOn() {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#end("lost"), DONE_MS);
  }

  /** A muted microphone sends nothing; the server must not think that we left. */
  #keepAlive() {
    if (!this.#sentSince && this.#socket?.readyState === 1) this.#socket.send(JSON.stringify({ type: "keepalive" }));
    this.#sentSince = false;
  }

  /** @param {any} message */
  #heard(message) {
    if (this.#stopSent) this.#waitOn();
    switch (message.type) {
      case "ready":
        this.#ready = true;
        if (!this.#stopSent) clearTimeout(this.#deadline);
        this.dispatchEvent(new CustomEvent("ready", { detail: message }));
        break;
      case "partial":
      case "final":
        this.dispatchEvent(new CustomEvent("caption", { detail: message }));
        break;
      case "warning":
        this.dispatchEvent(new CustomEvent("warning", { detail: message }));
        break;
      case "error":
        this.#fault = { ...this.#fault, ...message.error }; // its close follows, and tells whether to come back
        break;
      case "done":
        this.#end("done", message);
        break;
    }
  }

  /** @param {number} code */
  #closed(code) {
    if (code >= FATAL_CLOSE) this.#end("refused");
    else this.#end(this.#ready || this.#fault.code ? "lost" : "blocked");
  }

  /** @param {Ending["how"]} how @param {any} [done] */
  #end(how, done) {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    this.dispatchEvent(new CustomEvent("end", { detail: { how, ...this.#fault, done } }));
  }

  #release() {
    clearTimeout(this.#deadline);
    clearTimeout(this.#late);
    clearInterval(this.#heartbeat);
    this.#waiting = [];
    this.#socket?.close();
  }
}
