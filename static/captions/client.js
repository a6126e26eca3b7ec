// @ts-check
/**
 * Captions for a page: from the microphone to the last word. Joins recorder, connection and, when the live way fails,
 * upload. No DOM.
 */

import { Connection } from "./connection.js";
import { MicrophoneError, Recorder, openMicrophone } from "./recorder.js";
import { Recording } from "./recording.js";
import { EMPTY, reduce } from "./transcript.js";
import { upload } from "./upload.js";
import { browser } from "./world.js";

export { UNKNOWN, askEngine } from "./engine.js";
export { EMPTY, asText, parts } from "./transcript.js";

/**
 * `offline`: still recording while the line is down; what is said waits and will be captioned. `recording`: still
 * recording without live captions; they come after stop, by upload. `waiting`: a `finishing` that takes long.
 * `stranded`: a `finishing` while the line is down.
 * @typedef {"idle" | "asking" | "connecting" | "listening" | "offline" | "recording" | "finishing" | "waiting"
 *   | "stranded" | "uploading" | "done" | "trouble"} State
 * @typedef {{code: string, message?: string, param?: string, lag_s?: number}} Notice
 */

/** While these last, the microphone is open. */
export const OPEN = new Set(/** @type {State[]} */ (["connecting", "listening", "offline", "recording"]));

/** While these last, all is recorded, and the words are on their way. */
export const ENDING = new Set(/** @type {State[]} */ (["finishing", "waiting", "stranded"]));

/** While these last, there is nothing to press. */
export const BUSY = new Set(/** @type {State[]} */ (["asking", "finishing", "uploading"]));

/** While these last, there is something to lose. */
export const UNDER_WAY = new Set(/** @type {State[]} */ ([...OPEN, ...BUSY, ...ENDING]));

/**
 * Events: `caption` (detail: the server's partial or final, or one of transcript.js's own messages; `transcript` has
 * it), `state` (State), `error` (Notice: it ended in trouble), `notice` (Notice: something to tell in words, it goes
 * on), `stream` (MediaStream: a microphone is open), `ready` (the server's ready), `progress` (0 to 1, of the upload),
 * `summary` (the server's done).
 */
export class CaptionClient extends EventTarget {
  /** @type {State} */
  state = "idle";
  /** All that was said since this client was made. */
  transcript = EMPTY;
  /** @type {number} when the line broke, by the world's clock */
  #downSince = 0;
  /** @type {Recorder | null} */
  #recorder = null;
  /** @type {Connection | null} */
  #connection = null;
  #recording = new Recording();
  /** Whether the live way still works. */
  #live = true;
  /** Whether the person, or the end of the session, stopped the recorder; else the microphone went away. */
  #stopped = false;
  /** Whether we opened the microphone, and may open another one. */
  #ours = true;
  /** @type {MediaStream | null} the microphone to go on with */
  #next = null;

  /**
   * @param {string} server address of the server, https://…/
   * @param {{language?: string, token?: string, world?: import("./world.js").World}} [options]
   *   `language`: ISO 639-1, "" to let the engine find out; `token`: where the server wants one, of its /api/tokens
   */
  constructor(server, { language = "", token = "", world = browser() } = {}) {
    super();
    this.server = server;
    this.language = language;
    this.token = token;
    this.world = world;
    world.events.addEventListener("visibilitychange", () => world.visible() && this.#recorder?.wake());
  }

  /**
   * Opens the microphone, and a session for it. Rejects never: `error` tells.
   * @param {MediaStream} [stream] sound from somewhere else, such as getDisplayMedia
   */
  async start(stream) {
    if (UNDER_WAY.has(this.state)) return;
    this.#recorder = null;
    this.#recording = new Recording();
    this.#live = true;
    this.#stopped = false;
    this.#ours = !stream;
    this.#show({ type: "take" });
    this.#enter("asking");
    try {
      stream ??= await openMicrophone(this.world);
      if (this.#stopped) {
        release(stream);
        this.#enter("idle");
        return;
      }
      this.#record(stream);
    } catch (error) {
      release(stream);
      this.#trouble({ code: error instanceof MicrophoneError ? error.code : "recorder.missing" });
      return;
    }
    this.#enter("connecting");
    this.#connect();
  }

  /** Nothing more will be said; the last words follow, then the state is `done`. */
  stop() {
    this.#stopped = true;
    this.#recorder?.stop();
  }

  /** Goes on with another microphone, in the same session. @param {string} deviceId of enumerateDevices */
  async use(deviceId) {
    try {
      const stream = await openMicrophone(this.world, deviceId);
      if (!OPEN.has(this.state)) return release(stream);
      this.#next = stream;
      this.#recorder?.stop();
    } catch (error) {
      this.#tell("notice", { code: /** @type {MicrophoneError} */ (error).code });
    }
  }

  /** The last words take too long for somebody: what is there stays, and the recording can still be sent. */
  stopWaiting() {
    if (this.state !== "waiting" && this.state !== "stranded") return;
    this.#live = false;
    this.#connection?.abandon();
    this.#show({ type: "whole", text: "" });
    this.#trouble({ code: "waiting.stopped" });
  }

  /** Seconds since the line broke; 0 while it is up. */
  get down_s() {
    return this.#connection?.down ? (this.world.now() - this.#downSince) / 1000 : 0;
  }

  /** What was recorded, to keep or to send again: one file for each recorder. */
  files() {
    return this.#recording.files();
  }

  /** Sends the whole recording; its text replaces what the live way brought. */
  async upload() {
    this.#enter("uploading");
    this.#tell("progress", 0);
    const url = this.#address("api/transcribe", "http");
    const texts = [];
    let language;
    let sent = 0;
    try {
      for (const file of this.files()) {
        const before = sent;
        const progress = (/** @type {number} */ fraction) =>
          this.#tell("progress", (before + fraction * file.size) / this.#recording.bytes);
        const answer = await upload(file, this, url, this.world, progress);
        sent += file.size;
        texts.push(answer.transcript.trim());
        language = answer.language;
      }
    } catch (error) {
      const { code, message, param } = /** @type {import("./upload.js").UploadError} */ (error);
      this.#trouble({ code, message, param });
      return;
    }
    this.#show({ type: "whole", text: texts.join(" "), language });
    this.#enter("done");
  }

  /** Leaves the page: no more events matter. */
  abandon() {
    this.#connection?.abandon();
    this.#recorder?.release();
  }

  // -- the microphone ------------------------------------------------------------------------------------------

  /** Recording begins before the socket is open: the first words are never lost. @param {MediaStream} stream */
  #record(stream) {
    const recorder = new Recorder(stream, this.world);
    this.#recording.begin(recorder);
    recorder.addEventListener("chunk", (event) => this.#heard(/** @type {CustomEvent} */ (event).detail));
    recorder.addEventListener("stop", () => void this.#recorded(recorder));
    recorder.start();
    this.#recorder = recorder;
    this.#tell("stream", stream);
  }

  /** @param {Blob} chunk */
  #heard(chunk) {
    this.#recording.add(chunk);
    if (this.#live) this.#connection?.send(chunk);
    else if (this.#recording.full) {
      this.#tell("notice", { code: "recording.full" });
      this.stop();
    }
  }

  /** A recorder gave its last chunk. @param {Recorder} recorder */
  async #recorded(recorder) {
    if (!OPEN.has(this.state)) return;
    if (!this.#stopped && (await this.#goOnWithAnother(recorder))) return;
    if (!OPEN.has(this.state)) return;
    if (!this.#stopped) this.#tell("notice", { code: "microphone.gone" });
    if (this.#recording.bytes === 0) {
      this.#connection?.abandon();
      this.#trouble({ code: "recording.empty" });
    } else if (this.#live) {
      this.#enter(this.#connection?.down ? "stranded" : "finishing");
      this.#connection?.stop();
    } else void this.upload();
  }

  /**
   * Another microphone was chosen, or this one went away: the browser may have another one.
   * @param {Recorder} former
   */
  async #goOnWithAnother(former) {
    const chosen = this.#next;
    this.#next = null;
    // One that recorded nothing was no better than the one before it: the next would be none either.
    if (!chosen && (!this.#ours || former.bytes === 0)) return false;
    let stream = chosen;
    try {
      stream ??= await openMicrophone(this.world);
      if (this.#stopped || !OPEN.has(this.state)) throw new MicrophoneError("microphone.gone");
      if (this.#live) this.#connection?.recording();
      this.#record(stream);
    } catch {
      release(stream);
      return false;
    }
    if (!chosen) this.#tell("notice", { code: "microphone.changed" });
    return true;
  }

  // -- the line ------------------------------------------------------------------------------------------------

  #connect() {
    const query = this.language ? `?language=${encodeURIComponent(this.language)}` : "";
    const connection = new Connection(this.#address(`api/captions${query}`, "ws"), this.world, this.token);
    this.#connection = connection;
    /** @param {string} type @param {(detail: any) => void} act */
    const on = (type, act) =>
      connection.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
    on("message", (message) => {
      if (message.type === "ready") this.#tell("ready", message);
      this.#show(message);
    });
    on("warning", (warning) => this.#tell("notice", warning));
    on("up", () => this.#lineIsUp());
    on("down", () => this.#lineIsDown());
    on("anew", () => {
      this.#show({ type: "anew" });
      this.#tell("notice", { code: "live.anew" });
    });
    on("late", () => {
      if (this.state === "finishing") this.#enter("waiting");
    });
    on("end", (ending) => this.#ended(ending));
  }

  #lineIsUp() {
    if (this.state === "stranded") this.#enter("finishing");
    else if (OPEN.has(this.state) && this.state !== "listening") this.#enter("listening");
  }

  #lineIsDown() {
    if (this.state === "offline" || this.state === "stranded") return;
    this.#downSince = this.world.now();
    this.#enter(ENDING.has(this.state) ? "stranded" : "offline");
  }

  /** @param {import("./connection.js").Ending} ending */
  #ended(ending) {
    this.#live = false;
    switch (ending.how) {
      case "done":
        this.#enter("done");
        this.#tell("summary", ending.done);
        this.stop();
        break;
      case "refused":
        this.#trouble(ending);
        this.stop();
        break;
      default:
        this.#goOnWithoutCaptions(ending);
    }
  }

  /**
   * The socket is blocked or lost: what is recorded is sent in one piece, now or at stop.
   * @param {import("./connection.js").Ending} ending
   */
  #goOnWithoutCaptions(ending) {
    if (this.#recording.full) {
      this.#trouble({ code: "recording.full" });
      this.stop();
      return;
    }
    const stopped = ENDING.has(this.state);
    this.#tell("notice", { ...ending, code: `live.${ending.how}${stopped ? ".at_stop" : ""}` });
    if (stopped) void this.upload();
    else this.#enter("recording");
  }

  // -- what is told --------------------------------------------------------------------------------------------

  /** @param {any} message */
  #show(message) {
    const before = this.transcript;
    this.transcript = reduce(before, message);
    if (this.transcript !== before) this.#tell("caption", message);
  }

  /** @param {State} state */
  #enter(state) {
    this.state = state;
    this.#tell("state", state);
  }

  /** @param {Notice} notice */
  #trouble({ code, message, param }) {
    this.#enter("trouble");
    this.#tell("error", { code, message, param });
  }

  /** @param {string} type @param {unknown} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {string} path @param {"ws" | "http"} scheme */
  #address(path, scheme) {
    const url = new URL(path, this.server);
    url.protocol = url.protocol.replace("http", scheme);
    return url.href;
  }
}

/** @param {MediaStream | null | undefined} stream */
function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
