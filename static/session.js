// @ts-check
/**
 * One press of the button, from the microphone to the last word: joins recorder, connection and, when the live way
 * fails, upload. No DOM; page.js shows it.
 */

import { Connection } from "./connection.js";
import { MicrophoneError, Recorder, openMicrophone } from "./recorder.js";
import { Recording } from "./recording.js";
import { upload } from "./upload.js";

/**
 * `recording` is listening without live captions; they come after stop, by upload. `waiting` is a `finishing` that
 * takes long.
 * @typedef {"idle" | "asking" | "connecting" | "listening" | "recording" | "finishing" | "waiting" | "uploading"
 *   | "done" | "trouble"} State
 * @typedef {{code: string, message?: string, param?: string, lag_s?: number}} Notice
 */

/** While these last, the microphone is open. */
export const OPEN = new Set(/** @type {State[]} */ (["connecting", "listening", "recording"]));

/** While these last, there is nothing to press. */
export const BUSY = new Set(/** @type {State[]} */ (["asking", "finishing", "uploading"]));

/** While these last, a press of the button is under way, and there is something to lose. */
export const UNDER_WAY = new Set(/** @type {State[]} */ ([...OPEN, ...BUSY, "waiting"]));

/**
 * Events: `state` (detail: State), `notice` (Notice: something to tell in words), `stream` (MediaStream: the microphone
 * is open), `ready` (the server's ready), `message` (for transcript.js), `progress` (0 to 1, of the upload), `summary`
 * (the server's done).
 */
export class Session extends EventTarget {
  /** @type {State} */
  state = "idle";
  /** @type {Recorder | null} */
  #recorder = null;
  /** @type {Connection | null} */
  #connection = null;
  #recording = new Recording();
  /** Whether the live way still works. */
  #live = true;
  /** Whether the person, or the end of the session, stopped the recorder; else the microphone went away. */
  #stopped = false;

  /**
   * @param {string} language ISO 639-1, "" to let the engine find out
   * @param {{captions: string, transcribe: string}} urls
   * @param {{mediaDevices?: MediaDevices, MediaRecorder: typeof globalThis.MediaRecorder, userAgent: string,
   *   WebSocket?: typeof globalThis.WebSocket, XMLHttpRequest: typeof globalThis.XMLHttpRequest}} world
   */
  constructor(language, urls, world) {
    super();
    const query = language ? `?language=${encodeURIComponent(language)}` : "";
    this.language = language;
    this.urls = { captions: urls.captions + query, transcribe: urls.transcribe };
    this.world = world;
  }

  async start() {
    this.#enter("asking");
    let stream;
    try {
      stream = await openMicrophone(this.world);
      this.#record(stream);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      this.#trouble({ code: error instanceof MicrophoneError ? error.code : "recorder.missing" });
      return;
    }
    this.#tell("stream", stream);
    this.#enter("connecting");
    this.#connect();
  }

  stop() {
    this.#stopped = true;
    this.#recorder?.stop();
  }

  /** The last words take too long for somebody: what is there stays, and the recording can still be sent. */
  stopWaiting() {
    if (this.state !== "waiting") return;
    this.#live = false;
    this.#connection?.abandon();
    this.#tell("message", { type: "whole", text: "" });
    this.#trouble({ code: "waiting.stopped" });
  }

  /** What was recorded, to keep or to send again. */
  file() {
    return this.#recording.file(this.#recorder?.mimeType ?? "");
  }

  /** Sends the whole recording; its text replaces what the live way brought. */
  async upload() {
    this.#enter("uploading");
    this.#tell("progress", 0);
    try {
      const progress = (/** @type {number} */ fraction) => this.#tell("progress", fraction);
      const answer = await upload(this.file(), this.language, this.urls.transcribe, this.world, progress);
      const { transcript, language } = answer;
      this.#tell("message", { type: "whole", text: transcript, language });
      this.#enter("done");
    } catch (error) {
      const { code, message, param } = /** @type {import("./upload.js").UploadError} */ (error);
      this.#trouble({ code, message, param });
    }
  }

  /** Leaves the page: no more events matter. */
  abandon() {
    this.#connection?.abandon();
    this.#recorder?.release();
  }

  /** Recording begins before the socket is open: the first words are never lost. @param {MediaStream} stream */
  #record(stream) {
    const recorder = new Recorder(stream, this.world);
    recorder.addEventListener("chunk", (event) => this.#heard(/** @type {CustomEvent} */ (event).detail));
    recorder.addEventListener("stop", () => this.#recorded());
    recorder.start();
    this.#recorder = recorder;
  }

  #connect() {
    const connection = new Connection(this.urls.captions, this.world);
    this.#connection = connection;
    connection.addEventListener("ready", (event) => {
      this.#tell("ready", /** @type {CustomEvent} */ (event).detail);
      if (this.state === "connecting") this.#enter("listening");
    });
    connection.addEventListener("caption", (event) => this.#tell("message", /** @type {CustomEvent} */ (event).detail));
    connection.addEventListener("warning", (event) => this.#tell("notice", /** @type {CustomEvent} */ (event).detail));
    connection.addEventListener("late", () => {
      if (this.state === "finishing") this.#enter("waiting");
    });
    connection.addEventListener("end", (event) => this.#ended(/** @type {CustomEvent} */ (event).detail));
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

  /** The recorder gave its last chunk. */
  #recorded() {
    if (this.state === "trouble" || this.state === "done") return;
    if (!this.#stopped) this.#tell("notice", { code: "microphone.gone" });
    if (this.#recording.bytes === 0) {
      this.#connection?.abandon();
      this.#trouble({ code: "recording.empty" });
    } else if (this.#live) {
      this.#enter("finishing");
      this.#connection?.stop();
    } else void this.upload();
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
   * @param {Notice & {how: string}} ending
   */
  #goOnWithoutCaptions(ending) {
    if (this.#recording.full) {
      this.#trouble({ code: "recording.full" });
      this.stop();
      return;
    }
    const stopped = this.state === "finishing" || this.state === "waiting";
    this.#tell("notice", { ...ending, code: `live.${ending.how}${stopped ? ".at_stop" : ""}` });
    if (stopped) void this.upload();
    else this.#enter("recording");
  }

  /** @param {State} state */
  #enter(state) {
    this.state = state;
    this.#tell("state", state);
  }

  /** @param {Notice} notice */
  #trouble({ code, message, param }) {
    this.#enter("trouble");
    this.#tell("notice", { code, message, param });
  }

  /** @param {string} type @param {unknown} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
