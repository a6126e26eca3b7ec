// @ts-check
/**
 * Captions for a page: from the microphone to the last word. Joins recorder, connection and, when the live way fails,
 * upload. No DOM.
 */

import { Connection } from "./connection.js";
import { DISPLAY, Recorder, SourceError, openSource } from "./recorder.js";
import { Recording } from "./recording.js";
import { EMPTY, reduce } from "./transcript.js";
import { upload } from "./upload.js";
import { browser } from "./world.js";

export { UNKNOWN, askEngine } from "./engine.js";
export { asJson, asSrt, asVtt } from "./formats.js";
export { DISPLAY } from "./recorder.js";
export { EMPTY, asText, parts } from "./transcript.js";

/**
 * `offline`: still recording while the line is down; what is said waits and will be captioned. `recording`: still
 * recording without live captions; they come after stop, by upload. `waiting`: a `finishing` that takes long.
 * `stranded`: a `finishing` while the line is down.
 * @typedef {"idle" | "asking" | "connecting" | "listening" | "offline" | "recording" | "finishing" | "waiting"
 *   | "stranded" | "uploading" | "done" | "trouble"} State
 * @typedef {{code: string, message?: string, param?: string, lag_s?: number}} Notice
 * The deviceId of a microphone, "" for the browser's choice, DISPLAY for the sound of a tab, or any other sound.
 * @typedef {MediaStream | string} Source
 */

/** While these last, the microphone is open. */
export const OPEN = new Set(/** @type {State[]} */ (["connecting", "listening", "offline", "recording"]));

/** While these last, all is recorded, and the words are on their way. */
export const ENDING = new Set(/** @type {State[]} */ (["finishing", "waiting", "stranded"]));

/** While these last, there is nothing to press. */
export const BUSY = new Set(/** @type {State[]} */ (["asking", "finishing"]));

/** While these last, there is something to lose. */
export const UNDER_WAY = new Set(/** @type {State[]} */ ([...OPEN, ...BUSY, ...ENDING, "uploading"]));

/**
 * Events: `caption` (detail: the server's partial or final, or one of transcript.js's own messages; `transcript` has
 * it), `state` (State), `error` (Notice: it ended in trouble), `notice` (Notice: something to tell in words, it goes
 * on), `stream` (MediaStream: a microphone is open), `paused` (boolean), `ready` (the server's ready), `progress`
 * (Progress of the upload), `cost` (seconds so far: `audio_s` of sound, `billed_s` sent to the engine), `summary` (the
 * server's done).
 */
export class CaptionClient extends EventTarget {
  /** @type {State} */
  state = "idle";
  /** All that was said since this client was made. */
  transcript = EMPTY;
  /** Seconds by which the newest captions came after the speech; null before the first. @type {number | null} */
  lag_s = null;
  /** @type {number} when the line broke, by the world's clock */
  #downSince = 0;
  /** Seconds recorded before the present recorder; before the time line of the present session; and final so far. */
  #recorded_s = 0;
  #began_s = 0;
  #final_s = 0;
  /** @type {Recorder | null} */
  #recorder = null;
  /** @type {Connection | null} */
  #connection = null;
  #recording = new Recording();
  /** @type {File | null} what somebody brought instead of speaking */
  #file = null;
  /** @type {AbortController | null} of the upload under way */
  #upload = null;
  #paused = false;
  /** Whether the live way still works. */
  #live = true;
  /** Whether the person, or the end of the session, stopped the recorder; else the microphone went away. */
  #stopped = false;
  /** Whether we opened the microphone, and may open another one. */
  #ours = true;
  /** @type {MediaStream | null} the microphone to go on with */
  #next = null;
  /** Counts takes, also those that were abandoned: an answer to another one is not waited for any more. */
  #take = 0;

  /**
   * @param {string} server address of the server, https://…/; throws TypeError where it is none
   * @param {{language?: string, token?: string, room?: string, world?: import("./world.js").World}} [options]
   *   `language`: ISO 639-1, "" to let the engine find out; `token`: where the server wants one, of its /api/tokens;
   *   `room`: where others can follow, "" for one that the server names (`ready` tells it)
   */
  constructor(server, { language = "", token = "", room = "", world = browser() } = {}) {
    super();
    this.server = new URL(".", server).href; // not later, when somebody speaks
    this.language = language;
    this.token = token;
    this.room = room;
    this.world = world;
  }

  /**
   * Opens the microphone, and a session for it. Rejects never: `error` tells.
   * @param {Source} [source]
   */
  async start(source = "") {
    if (UNDER_WAY.has(this.state)) return;
    this.#begin();
    this.#live = true;
    this.#stopped = false;
    this.#enter("asking");
    const take = this.#take;
    /** @type {MediaStream | null} */
    let stream = null;
    try {
      stream = await this.#open(source);
      if (take !== this.#take) {
        release(stream);
        return;
      }
      this.#ours = isMicrophone(source);
      if (this.#stopped) {
        release(stream);
        this.#enter("idle");
        return;
      }
      this.#record(stream);
    } catch (error) {
      release(stream);
      if (take !== this.#take) return;
      this.#trouble({ code: error instanceof SourceError ? error.code : "recorder.missing" });
      return;
    }
    this.#enter("connecting");
    this.#connect();
  }

  /** Nothing more will be said; the last words follow, then the state is `done`. */
  stop() {
    this.#stopped = true;
    this.#choose(null);
    this.#recorder?.stop();
  }

  /** What is said from now on is not recorded, until `resume`. The session goes on. */
  pause() {
    this.#hold(true);
  }

  resume() {
    this.#hold(false);
  }

  get paused() {
    return this.#paused;
  }

  /**
   * Goes on with other sound, in the same session.
   * @param {Source} source
   * @returns {Promise<boolean>} false when it was not given; all goes on as it was
   */
  async use(source) {
    try {
      const stream = await this.#open(source);
      if (this.#stopped || !OPEN.has(this.state)) {
        release(stream);
        return false;
      }
      this.#ours = isMicrophone(source);
      this.#choose(stream);
      this.#recorder?.stop();
      return true;
    } catch (error) {
      this.#tell("notice", { code: /** @type {SourceError} */ (error).code });
      return false;
    }
  }

  /** The last words take too long for somebody: what is there stays, and the recording can still be sent. */
  stopWaiting() {
    if (this.state !== "waiting" && this.state !== "stranded") return;
    this.#live = false;
    this.#connection?.abandon();
    this.#show({ type: "whole", finals: [] });
    this.#trouble({ code: "waiting.stopped" });
  }

  /** Seconds since the line broke; 0 while it is up. */
  get down_s() {
    return this.#connection?.down ? (this.world.now() - this.#downSince) / 1000 : 0;
  }

  /** Seconds recorded since `start`, without pauses. */
  get recorded_s() {
    return this.#recorded_s + (this.#recorder?.seconds ?? 0);
  }

  /** What was recorded, to keep or to send again: one file for each recorder. Or the file that somebody brought. */
  files() {
    return this.#file ? [this.#file] : this.#recording.files();
  }

  /** Captions a file instead of a microphone. Rejects never: `error` tells. @param {File} file */
  async transcribe(file) {
    if (UNDER_WAY.has(this.state)) return;
    this.#begin();
    this.#file = file;
    await this.upload();
  }
  /** Sends what `files` has; its text replaces what this take had. */
  async upload() {
    this.#enter("uploading");
    this.#upload = new AbortController();
    const take = this.#take;
    const said = [];
    let reached = 0; // seconds, of the files before this one
    try {
      for (const file of this.files()) {
        const { duration, finals } = await this.#send(file, this.#upload.signal);
        said.push(...finals.map((final) => later(final, reached)));
        reached += duration;
      }
    } catch (error) {
      if (take !== this.#take) return;
      this.#notSent(/** @type {import("./upload.js").UploadError} */ (error));
      return;
    }
    this.#show({ type: "whole", finals: said });
    this.#enter("done");
  }

  /** Ends an upload; what it brought so far stays. */
  cancel() {
    this.#upload?.abort();
  }

  /** Leaves without a word: nothing is recorded or sent any more, until somebody starts again. */
  abandon() {
    this.stop();
    this.#recorder?.release(); // a page that goes away may not see its recorder stop
    this.#connection?.abandon();
    this.#upload?.abort();
    this.#take += 1;
    if (UNDER_WAY.has(this.state)) this.#enter("idle");
  }

  // -- the microphone ------------------------------------------------------------------------------------------

  /** A new take. */
  #begin() {
    this.#take += 1;
    this.#recorder = null;
    this.#recording = new Recording();
    this.#file = null;
    this.#recorded_s = this.#began_s = this.#final_s = 0;
    this.lag_s = null;
    this.#hold(false);
    this.#show({ type: "take" });
  }

  /** @param {Source} source */
  async #open(source) {
    return typeof source === "string" ? openSource(this.world, source) : source;
  }

  /** @param {boolean} paused */
  #hold(paused) {
    if (paused === this.#paused || (paused && !OPEN.has(this.state))) return;
    this.#paused = paused;
    if (paused) this.#recorder?.pause();
    else this.#recorder?.resume();
    this.#tell("paused", paused);
  }

  /** Recording begins before the socket is open: the first words are never lost. @param {MediaStream} stream */
  #record(stream) {
    const recorder = new Recorder(stream, this.world);
    this.#recording.begin(recorder);
    // One that ends late must not speak into the next take.
    const mine = (/** @type {(event: any) => void} */ act) => (/** @type {any} */ event) => {
      if (this.#recorder === recorder) act(event);
    };
    recorder.addEventListener("chunk", mine(({ detail }) => this.#heard(detail)));
    recorder.addEventListener("pause", mine(() => this.#connection?.finalize()));
    recorder.addEventListener("stop", mine(() => void this.#recorded(recorder)));
    recorder.start();
    if (this.#paused) recorder.pause();
    this.#recorded_s = this.recorded_s;
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
    if (this.#recorder !== recorder || !OPEN.has(this.state)) return;
    if (!this.#stopped) this.#tell("notice", { code: this.#ours ? "microphone.gone" : "source.gone" });
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
    // One that recorded nothing was no better than the one before it: the next would be none either.
    if (!this.#next && (!this.#ours || former.bytes === 0)) return false;
    const found = this.#next ? null : await openSource(this.world).catch(() => null);
    const over = this.#stopped || this.#recorder !== former;
    const stream = over ? null : (this.#next ?? found); // somebody may have chosen meanwhile
    if (stream !== found) release(found);
    if (!stream) return false;
    this.#next = null;
    try {
      if (this.#live) this.#connection?.recording();
      this.#record(stream);
    } catch {
      release(stream);
      return false;
    }
    if (stream === found) this.#tell("notice", { code: "microphone.changed" });
    return true;
  }

  /** The one to go on with; never two are open. @param {MediaStream | null} stream */
  #choose(stream) {
    release(this.#next);
    this.#next = stream;
  }

  // -- the line ------------------------------------------------------------------------------------------------

  #connect() {
    const { language, room } = this;
    const options = new URLSearchParams(Object.entries({ language, room }).filter(([, choice]) => choice));
    const query = options.size ? `?${options}` : "";
    const connection = new Connection(this.#address(`api/captions${query}`, "ws"), this.world, this.token);
    this.#connection = connection;
    /** @param {string} type @param {(detail: any) => void} act */
    const on = (type, act) =>
      connection.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
    on("message", (message) => {
      if (message.type === "ready") this.#tell("ready", message);
      this.#clock(message);
      this.#show(message);
    });
    on("cost", (cost) => this.#tell("cost", cost));
    on("warning", (warning) => this.#tell("notice", warning));
    on("up", () => this.#lineIsUp());
    on("down", () => this.#lineIsDown());
    on("anew", () => {
      this.#began_s = this.#final_s; // about there its time line begins: at the sound that was not final
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

  // -- the way by file -----------------------------------------------------------------------------------------

  /** @param {File} file @param {AbortSignal} signal */
  async #send(file, signal) {
    /** @type {import("./upload.js").Final[]} */
    const finals = [];
    const answer = await upload(
      file,
      {
        url: this.#address("api/transcribe", "http"),
        language: this.language,
        token: this.token,
        signal,
        progress: (progress) => this.#tell("progress", progress),
        final: (final) => {
          finals.push(final);
          if (this.#file) this.#show(final); // else there may be live captions, which stay until all is there
        },
      },
      this.world,
    );
    return { ...answer, finals };
  }

  /** @param {import("./upload.js").UploadError} error */
  #notSent({ code, message, param }) {
    if (code === "upload.cancelled" && this.#file) this.#enter("idle");
    else this.#trouble({ code, message, param });
  }

  // -- what is told --------------------------------------------------------------------------------------------

  /** How late captions are: what they tell of ends at `end`, and this moment is being recorded. @param {any} message */
  #clock({ type, end }) {
    if (type === "final") this.#final_s = this.#began_s + end;
    if (type === "partial") this.lag_s = Math.max(0, this.recorded_s - this.#began_s - end);
  }

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

/** @param {import("./upload.js").Final} final @param {number} seconds */
function later(final, seconds) {
  const words = final.words.map((word) => ({ ...word, start: word.start + seconds, end: word.end + seconds }));
  return { ...final, words, start: final.start + seconds, end: final.end + seconds };
}

/** @param {Source} source */
function isMicrophone(source) {
  return typeof source === "string" && source !== DISPLAY;
}

/** @param {MediaStream | null | undefined} stream */
function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
