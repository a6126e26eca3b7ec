// @ts-check
/** A microphone, or the sound of a tab, as a stream of recorded chunks. */

const BITS_PER_SECOND = 32_000; // a quarter of the browsers' default, and the engines hear the same words
const TIMESLICE_MS = 250;
const SAFARI_TIMESLICE_MS = 1000; // Safari makes fragments of a second anyway, and empty blobs when asked for less

const FORMATS = ["audio/webm;codecs=opus", "audio/mp4;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const SAFARI_FORMATS = ["audio/mp4", ...FORMATS]; // Safari claims WebM and disappoints

/** In the place of a microphone's deviceId: the sound of a tab or of the computer; the browser asks which. */
export const DISPLAY = "display";

/** Why there is no sound; `code` is one of sentences.js. */
export class SourceError extends Error {
  /** @param {string} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** What getUserMedia's rejections mean (W3C Media Capture and Streams, section 9.2). */
const REASONS = /** @type {Record<string, string>} */ ({
  NotAllowedError: "microphone.denied",
  SecurityError: "microphone.denied",
  NotFoundError: "microphone.missing",
  OverconstrainedError: "microphone.missing",
  NotReadableError: "microphone.busy",
  AbortError: "microphone.busy",
});

/**
 * Asks for a microphone or, with DISPLAY, for other sound. The latter has to be in answer to a click.
 * @param {Pick<import("./world.js").World, "mediaDevices" | "MediaRecorder">} world
 * @param {string} [source] deviceId of enumerateDevices, or DISPLAY; without it the browser's choice
 * @returns {Promise<MediaStream>} rejects with SourceError
 */
export async function openSource({ mediaDevices, MediaRecorder }, source = "") {
  if (!mediaDevices) throw new SourceError("microphone.insecure");
  if (!MediaRecorder) throw new SourceError("recorder.missing");
  return source === DISPLAY ? openDisplay(mediaDevices) : openMicrophone(mediaDevices, source);
}

/** @param {MediaDevices} mediaDevices @param {string} deviceId */
async function openMicrophone(mediaDevices, deviceId) {
  const audio = {
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
    channelCount: 1,
    ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
  };
  try {
    return await mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new SourceError(REASONS[/** @type {Error} */ (error).name] ?? "microphone.failed");
  }
}

/** Browsers give a tab's sound only together with its picture. @param {MediaDevices} mediaDevices */
async function openDisplay(mediaDevices) {
  if (!mediaDevices.getDisplayMedia) throw new SourceError("display.missing");
  let stream;
  try {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const wishes = { video: true, audio, systemAudio: "include", selfBrowserSurface: "exclude" };
    stream = await mediaDevices.getDisplayMedia(wishes);
  } catch {
    throw new SourceError("display.denied");
  }
  for (const track of stream.getVideoTracks()) {
    track.stop();
    stream.removeTrack(track);
  }
  if (stream.getAudioTracks().length === 0) throw new SourceError("display.silent");
  return stream;
}

/**
 * The first format this browser records, "" to let it choose, and how often to ask for a chunk.
 * @param {{isTypeSupported(type: string): boolean}} MediaRecorder
 * @param {string} userAgent
 */
export function chooseFormat(MediaRecorder, userAgent) {
  const safari = /AppleWebKit/.test(userAgent) && !/Chrom|Edg|Android/.test(userAgent);
  const formats = safari ? SAFARI_FORMATS : FORMATS;
  return {
    mimeType: formats.find((type) => MediaRecorder.isTypeSupported(type)) ?? "",
    timeslice: safari ? SAFARI_TIMESLICE_MS : TIMESLICE_MS,
  };
}

/**
 * Events: `chunk` (detail: a Blob, never empty), `pause` (what was said before it is in the chunks so far) and, once,
 * after the last chunk, `stop`. It also stops by itself when its source goes away.
 */
export class Recorder extends EventTarget {
  /** Bytes recorded so far. */
  bytes = 0;
  /** Whether somebody paused it; a phone that does has no say. */
  #held = false;
  #recorded_ms = 0;
  /** @type {number | null} since when it records, by the world's clock */
  #since = null;

  /**
   * @param {MediaStream} stream
   * @param {import("./world.js").World} world
   */
  constructor(stream, world) {
    super();
    const { MediaRecorder, userAgent, setTimeout } = world;
    if (!MediaRecorder) throw new SourceError("recorder.missing");
    const { mimeType, timeslice } = chooseFormat(MediaRecorder, userAgent);
    this.stream = stream;
    this.timeslice = timeslice;
    this.world = world;
    this.recorder = new MediaRecorder(stream, {
      audioBitsPerSecond: BITS_PER_SECOND,
      ...(mimeType ? { mimeType } : {}),
    });
    this.recorder.addEventListener("dataavailable", ({ data }) => {
      if (data.size === 0) return;
      this.bytes += data.size;
      this.dispatchEvent(new CustomEvent("chunk", { detail: data }));
    });
    for (const kind of ["start", "resume"]) {
      this.recorder.addEventListener(kind, () => (this.#since ??= this.world.now()));
    }
    this.recorder.addEventListener("pause", () => {
      this.#count();
      setTimeout(() => this.#rest(), timeslice); // not every browser gives what it was asked for before it tells of this
    });
    this.recorder.addEventListener("stop", () => {
      this.#count();
      this.world.events.removeEventListener("visibilitychange", this.#seen);
      this.release();
      this.dispatchEvent(new Event("stop"));
    });
    // Not every browser's recorder ends with its track.
    for (const track of stream.getTracks()) track.addEventListener("ended", () => this.stop());
  }

  /** Known once the recorder runs; empty before where the browser chose. */
  get mimeType() {
    return this.recorder.mimeType;
  }

  /** How much was recorded, without pauses. */
  get seconds() {
    return (this.#recorded_ms + (this.#since === null ? 0 : this.world.now() - this.#since)) / 1000;
  }

  start() {
    this.recorder.start(this.timeslice);
    this.world.events.addEventListener("visibilitychange", this.#seen);
  }

  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }

  /** What is said now is not recorded. */
  pause() {
    this.#held = true;
    if (this.recorder.state !== "recording") return;
    this.recorder.requestData(); // else what was said before waits inside until it goes on
    this.recorder.pause();
  }

  resume() {
    this.#held = false;
    if (this.recorder.state === "paused") this.recorder.resume();
  }

  /** The tab is in front again: phones hold recorders in hidden tabs, or end their tracks without a word. */
  #seen = () => {
    if (!this.world.visible()) return;
    if (this.stream.getTracks().every((track) => track.readyState === "ended")) this.stop();
    else if (!this.#held) this.resume();
  };

  /** Switches the microphone, and the browser's red dot, off. */
  release() {
    for (const track of this.stream.getTracks()) track.stop();
  }

  #rest() {
    if (this.recorder.state === "paused") this.dispatchEvent(new Event("pause"));
  }

  #count() {
    this.#recorded_ms = this.seconds * 1000;
    this.#since = null;
  }
}
