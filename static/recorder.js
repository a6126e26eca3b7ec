// @ts-check
/** The microphone, as a stream of recorded chunks. */

const BITS_PER_SECOND = 32_000; // a quarter of the browsers' default, and the engines hear the same words
const TIMESLICE_MS = 250;
const SAFARI_TIMESLICE_MS = 1000; // Safari makes fragments of a second anyway, and empty blobs when asked for less

const FORMATS = ["audio/webm;codecs=opus", "audio/mp4;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const SAFARI_FORMATS = ["audio/mp4", ...FORMATS]; // Safari claims WebM and disappoints

/** Why there is no microphone; `code` is one of sentences.js. */
export class MicrophoneError extends Error {
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
 * Asks for the microphone.
 * @param {{mediaDevices?: MediaDevices, MediaRecorder?: typeof globalThis.MediaRecorder}} world
 * @returns {Promise<MediaStream>} rejects with MicrophoneError
 */
export async function openMicrophone({ mediaDevices, MediaRecorder }) {
  if (!mediaDevices) throw new MicrophoneError("microphone.insecure");
  if (!MediaRecorder) throw new MicrophoneError("recorder.missing");
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  try {
    return await mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new MicrophoneError(REASONS[/** @type {Error} */ (error).name] ?? "microphone.failed");
  }
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
 * Events: `chunk` (detail: a Blob, never empty) and, once, after the last chunk, `stop`. It also stops by itself
 * when the microphone goes away.
 */
export class Recorder extends EventTarget {
  /**
   * @param {MediaStream} stream
   * @param {{MediaRecorder: typeof globalThis.MediaRecorder, userAgent: string}} world
   */
  constructor(stream, { MediaRecorder, userAgent }) {
    super();
    const { mimeType, timeslice } = chooseFormat(MediaRecorder, userAgent);
    this.stream = stream;
    this.timeslice = timeslice;
    this.recorder = new MediaRecorder(stream, {
      audioBitsPerSecond: BITS_PER_SECOND,
      ...(mimeType ? { mimeType } : {}),
    });
    this.recorder.addEventListener("dataavailable", ({ data }) => {
      if (data.size > 0) this.dispatchEvent(new CustomEvent("chunk", { detail: data }));
    });
    this.recorder.addEventListener("stop", () => {
      this.release();
      this.dispatchEvent(new Event("stop"));
    });
  }

  /** Known once the recorder runs; empty before where the browser chose. */
  get mimeType() {
    return this.recorder.mimeType;
  }

  start() {
    this.recorder.start(this.timeslice);
  }

  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }

  /** Switches the microphone, and the browser's red dot, off. */
  release() {
    for (const track of this.stream.getTracks()) track.stop();
  }
}
