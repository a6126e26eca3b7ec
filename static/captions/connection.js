// @ts-check
/**
 * One live session over WebSockets: bytes go out, captions come in. When the line breaks it comes back, shows the
 * newest ticket, and goes on at the byte the server names; it ends once.
 */

import { Comeback, passes } from "./comeback.js";
import { BEGINNING, Ring } from "./ring.js";

const OPEN_MS = 8_000; // a proxy that swallows WebSockets often answers nothing at all
const LATE_MS = 4_000; // the last words come in a second or two after stop; after this somebody wants to know
const DONE_MS = 130_000; // the longest silence after stop: the server asks its engine for two minutes
const KEEPALIVE_MS = 10_000; // well within the server's idle limit of a minute; one that has less patience tells so
const SILENT_MS = 30_000; // a server that gave a ticket says something every 10 s: the line is dead without a close

/** Close codes from here on mean "stop", whatever is in our hands. */
const FATAL_CLOSE = 4500;

/** Answers to `resume` after which only a new session helps: the ticket is too old, or not understood. */
const TICKET_REFUSED = new Set(["resume.expired", "request.invalid"]);

/** @type {Readonly<{code: string, message: string, param: string, retry_after_s: number}>} */
const NO_FAULT = Object.freeze({ code: "", message: "", param: "", retry_after_s: 0 });

/**
 * How it ended. `done`: all is captioned. `blocked`: it never opened. `refused`: the server said no, and would again.
 * `lost`: it broke, and cannot come back.
 * @typedef {{how: "done" | "blocked" | "refused" | "lost", code: string, message: string, param: string, done?: any}}
 *   Ending
 * `flowing`: what is recorded goes straight out. `down`: no socket, but there will be one.
 * @typedef {"opening" | "resuming" | "flowing" | "down" | "ended"} Phase
 */

/**
 * Events: `message` (detail: what the server says about the transcript: ready, resumed, partial, final, done),
 * `warning` (detail: the server's message), `cost` (detail: `audio_s` and `billed_s` so far), `down` (detail: why; it
 * will come back), `up`, `anew` (the former session could not go on; all its unacknowledged sound goes into a new one),
 * `late` (the last words take long) and, once, `end` (detail: Ending).
 */
export class Connection extends EventTarget {
  /** @type {Phase} */
  #phase = "down";
  /** @type {WebSocket | null} */
  #socket = null;
  #ring = new Ring();
  #comeback;
  /** The newest one; "" while the server gave none. */
  #ticket = "";
  /** Whether the server has begun this session. */
  #ready = false;
  /** Its first ticket comes with the first sound, and may be lost. */
  #knowsTickets = false;
  /** Whether the server ever said anything: then the way is not blocked. */
  #spoken = false;
  /** Whether it did not answer over HTTP either, when it was asked last. */
  #away = false;
  /** The number of the recording this socket is in. */
  #sending = 0;
  #sentSince = false;
  #keepAlive_ms = KEEPALIVE_MS;
  #stopping = false;
  /** Whether what was sent last is the end of what was said. */
  #paused = false;
  #fault = { ...NO_FAULT };
  /** @type {any} opening, or the last words, must not take longer */
  #deadline = null;
  /** @type {any} */
  #late = null;
  /** @type {any} */
  #heartbeat = null;
  /** @type {any} */
  #silence = null;

  /**
   * @param {string} url ws: or wss:, with the session's options as query
   * @param {import("./world.js").World} world
   * @param {string} [token] of the server, where it wants one
   */
  constructor(url, world, token = "") {
    super();
    this.url = url;
    this.token = token;
    this.world = world;
    this.#comeback = new Comeback(() => this.#open(), world);
    this.#open();
  }

  get down() {
    return this.#phase === "down" || this.#phase === "resuming" || (this.#phase === "opening" && this.#spoken);
  }

  /** Sends the next bytes of the recording, in order; keeps them until they are acknowledged. @param {Blob} chunk */
  send(chunk) {
    if (this.#phase === "ended") return;
    this.#paused = false;
    this.#ring.add(chunk);
    if (this.#phase === "flowing") this.#sendPiece(this.#ring.recording, chunk);
  }

  /** A new recorder begins: its header follows. */
  recording() {
    this.#ring.next();
  }

  /** Nothing more is said for now: all so far becomes final. */
  finalize() {
    this.#paused = true;
    if (this.#phase === "flowing") this.#say({ type: "finalize" });
  }

  /** Nothing more will be said: the server flushes, says `done`, and the session ends. */
  stop() {
    if (this.#phase === "ended" || this.#stopping) return;
    this.#stopping = true;
    if (this.#phase === "flowing") this.#sendStop();
  }

  /** Gives up without a word. */
  abandon() {
    this.#phase = "ended";
    this.#release();
  }

  // -- the line ------------------------------------------------------------------------------------------------

  #open() {
    this.#hangUp();
    this.#phase = "opening";
    this.#fault = { ...NO_FAULT };
    this.#wait(OPEN_MS, () => this.#broke(1006));
    let socket;
    try {
      if (!this.world.WebSocket) throw new TypeError("this browser has no WebSocket");
      socket = new this.world.WebSocket(this.url, this.token ? ["bearer", this.token] : []); // no header can be set here
    } catch {
      queueMicrotask(() => this.#end("blocked"));
      return;
    }
    this.#socket = socket;
    // A socket that was given up may still talk, or take minutes to close.
    const mine = (/** @type {(event: any) => void} */ act) => (/** @type {any} */ event) => {
      if (this.#socket === socket) act(event);
    };
    socket.addEventListener("open", mine(() => this.#opened()));
    socket.addEventListener("message", mine(({ data }) => this.#heard(JSON.parse(data))));
    socket.addEventListener("close", mine(({ code }) => this.#broke(code)));
  }

  #opened() {
    this.#sentSince = true;
    this.#keepAlive();
    if (this.#ticket) {
      this.#phase = "resuming";
      this.#say({ type: "resume", ticket: this.#ticket });
    } else this.#flow(BEGINNING);
  }

  /**
   * Sends all there is from `place` on; from now on chunks go straight out.
   * @param {import("./ring.js").Place} place
   */
  #flow(place) {
    const pieces = this.#ring.from(place);
    if (!pieces) return this.#end("lost"); // it was too long: only the whole recording still has it all
    this.#phase = "flowing";
    this.#sending = place.recording;
    for (const { recording, data } of pieces) this.#sendPiece(recording, data);
    if (this.#stopping) this.#sendStop();
    else if (this.#paused) this.#say({ type: "finalize" });
  }

  /** @param {number} recording @param {Blob} data */
  #sendPiece(recording, data) {
    for (; this.#sending < recording; this.#sending++) this.#say({ type: "recording" });
    this.#socket?.send(data);
    this.#sentSince = true;
    if (this.#silence === null && this.#canGoOn()) this.#listen();
  }

  #sendStop() {
    this.#wait(DONE_MS, () => this.#end("lost"));
    this.world.clearTimeout(this.#late);
    this.#late = this.world.setTimeout(() => this.dispatchEvent(new Event("late")), LATE_MS);
    this.#say({ type: "stop" });
  }

  /** A muted microphone sends nothing; the server must not think that we left. */
  #keepAlive() {
    if (!this.#sentSince) this.#say({ type: "keepalive" });
    this.#sentSince = false;
    this.#beat();
  }

  #beat() {
    this.world.clearTimeout(this.#heartbeat);
    this.#heartbeat = this.world.setTimeout(() => this.#keepAlive(), this.#keepAlive_ms);
  }

  /** @param {object} message */
  #say(message) {
    this.#socket?.send(JSON.stringify(message));
  }

  // -- the server speaks ---------------------------------------------------------------------------------------

  /** @param {any} message */
  #heard(message) {
    this.#spoken = true;
    // After stop: as long as the server says anything at all, it is at work.
    if (this.#stopping && this.#phase === "flowing") this.#wait(DONE_MS, () => this.#end("lost"));
    switch (message.type) {
      case "ready":
        this.#ready = true;
        this.#knowsTickets = message.limits?.resume_s > 0;
        // A third of the server's patience: a silence is noticed at the second beat.
        this.#keepAlive_ms = Math.min(KEEPALIVE_MS, ((message.limits?.idle_s ?? Infinity) * 1000) / 3);
        this.#beat();
        if (this.#phase === "flowing") this.#lineIsUp(); // else `resumed` follows
        this.#tell("message", message);
        break;
      case "resumed":
        this.#lineIsUp();
        this.#tell("message", message);
        this.#flow(message);
        break;
      case "partial":
        this.#tell("message", message);
        break;
      case "final":
        if (message.ack) this.#acknowledged(message.ack);
        this.#tell("message", message);
        break;
      case "ack":
        this.#acknowledged(message);
        break;
      case "reconnect":
        this.#ticket = message.ticket ?? this.#ticket; // its close follows
        break;
      case "warning":
        this.#tell("warning", message);
        break;
      case "error":
        this.#fault = { ...NO_FAULT, ...message.error }; // its close follows, and tells whether to come back
        break;
      case "done":
        this.#end("done", message);
        break;
    }
    if (this.#ticket && this.#phase === "flowing") this.#listen();
  }

  #lineIsUp() {
    if (!this.#stopping) this.world.clearTimeout(this.#deadline);
    this.#comeback.up();
    this.#tell("up");
  }

  /** @param {import("./ring.js").Place & {ticket: string, audio_s: number, billed_s: number}} ack */
  #acknowledged(ack) {
    this.#ticket = ack.ticket;
    this.#ring.trim(ack);
    this.#tell("cost", { audio_s: ack.audio_s, billed_s: ack.billed_s });
  }

  /** A dead line tells nothing: something is heard in time, or the line is made anew. */
  #listen() {
    this.world.clearTimeout(this.#silence);
    this.#silence = this.world.setTimeout(() => this.#broke(1006), SILENT_MS);
  }

  // -- the line breaks -----------------------------------------------------------------------------------------

  /** @param {number} code */
  #broke(code) {
    const refused = this.#phase === "resuming" && TICKET_REFUSED.has(this.#fault.code);
    const fatal = code >= FATAL_CLOSE || this.#fault.code === "auth.expired"; // we have no other token
    this.#hangUp();
    if (refused) this.#startAnew();
    else if (fatal) this.#end("refused");
    else if (passes(code) && this.#canGoOn()) this.#comeBack();
    else if (this.#spoken) this.#end("lost");
    else void this.#ask();
  }

  /** Nothing was ever heard: WebSockets do not get through, or the server is not there, and that may pass. */
  async #ask() {
    this.#phase = "down";
    const health = new URL("../healthz", this.url.replace("ws", "http"));
    const there = this.world.fetch(health, { mode: "no-cors", cache: "no-store", signal: AbortSignal.timeout(OPEN_MS) });
    const before = this.#away;
    this.#away = await there.then(
      () => false,
      () => true,
    );
    if (this.#phase !== "down") return;
    if (this.#away || before) this.#comeBack(); // it may have come between the two
    else this.#end("blocked");
  }

  /** With a ticket, or where nothing is final yet and a server is there at all. */
  #canGoOn() {
    return this.#ticket !== "" || this.#knowsTickets || (this.#spoken && !this.#ready);
  }

  #comeBack() {
    const { code, retry_after_s } = this.#fault;
    this.#phase = "down";
    if (this.#comeback.again(retry_after_s ?? 0)) this.#tell("down", { code });
    else this.#end("lost");
  }

  /** The server cannot go on with the session; what it has not acknowledged becomes the beginning of a new one. */
  #startAnew() {
    const ring = this.#ring.anew();
    if (!ring) return this.#end("lost");
    this.#ring = ring;
    this.#ticket = "";
    this.#ready = false;
    this.#tell("anew");
    this.#comeBack();
  }

  /** @param {Ending["how"]} how @param {any} [done] */
  #end(how, done) {
    if (this.#phase === "ended") return;
    if (done) this.#tell("message", done);
    this.#phase = "ended";
    this.#release();
    const { code, message, param } = this.#fault;
    this.#tell("end", { how, code, message, param, done });
  }

  #release() {
    this.#comeback.end();
    this.#hangUp();
  }

  #hangUp() {
    for (const timer of [this.#deadline, this.#late, this.#heartbeat, this.#silence]) this.world.clearTimeout(timer);
    this.#silence = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** @param {number} ms @param {() => void} act */
  #wait(ms, act) {
    this.world.clearTimeout(this.#deadline);
    this.#deadline = this.world.setTimeout(act, ms);
  }

  /** @param {string} type @param {unknown} [detail] */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
