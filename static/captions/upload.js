// @ts-check
/**
 * A whole file over HTTP: sent with progress, and answered in events (docs/protocol.md, files). XMLHttpRequest, because
 * fetch does not tell how much is sent.
 */

const SILENT_MS = 5 * 60_000; // the server says something every 10 s, but some proxies hold back what it says

/** The server's error object; `upload.failed` without an answer, `upload.cancelled` when somebody did that. */
export class UploadError extends Error {
  /** @param {string} code @param {string} message @param {string} param */
  constructor(code, message, param) {
    super(message);
    this.code = code;
    this.param = param;
  }
}

/**
 * How far it is: the part of the file that is sent or, in seconds, transcribed.
 * @typedef {{step: "sending", fraction: number}
 *   | {step: "transcribing", done_s: number, duration_s: number | null}} Progress
 * @typedef {{utterance: number, start: number, end: number, text: string, language?: string | null,
 *   words: {text: string, start: number, end: number}[]}} Final
 * @typedef {{transcript: string, language?: string | null, duration: number}} Answer
 */

/**
 * @param {File} file
 * @param {object} options
 * @param {string} options.url
 * @param {string} options.language ISO 639-1, "" to let the engine find out
 * @param {string} options.token "" where the server wants none
 * @param {AbortSignal} options.signal to cancel it
 * @param {(progress: Progress) => void} options.progress
 * @param {(final: Final) => void} options.final
 * @param {Pick<import("./world.js").World, "XMLHttpRequest" | "setTimeout" | "clearTimeout">} world
 * @returns {Promise<Answer>} rejects with UploadError
 */
export function upload(file, { url, language, token, signal, progress, final }, world) {
  return new Promise((resolve, reject) => {
    if (!world.XMLHttpRequest) return reject(failure());
    const request = new world.XMLHttpRequest();
    /** @type {any} */
    let patience = null;
    const wait = () => {
      world.clearTimeout(patience);
      patience = world.setTimeout(() => request.abort(), SILENT_MS);
    };
    const over = (/** @type {() => void} */ settle) => {
      world.clearTimeout(patience);
      signal.removeEventListener("abort", cancel);
      settle();
    };
    const cancel = () => {
      over(() => reject(new UploadError("upload.cancelled", "", "")));
      request.abort();
    };

    let read = 0; // characters of the answer
    const hear = () => {
      const end = request.responseText.lastIndexOf("\n\n");
      const events = request.responseText.slice(read, Math.max(read, end)).split("\n");
      read = Math.max(read, end);
      for (const line of events) if (line.startsWith("data:")) act(JSON.parse(line.slice(5)));
    };
    const act = (/** @type {any} */ event) => {
      if (event.type === "progress") progress({ ...event, step: "transcribing" });
      else if (event.type === "final") final(event);
      else if (event.type === "done") over(() => resolve(event));
      else if (event.type === "error") over(() => reject(failure(event.error)));
    };

    request.upload.addEventListener("progress", ({ loaded, total }) => {
      wait();
      progress({ step: "sending", fraction: total ? loaded / total : 0 });
    });
    request.upload.addEventListener("load", () => progress({ step: "transcribing", done_s: 0, duration_s: null }));
    request.addEventListener("progress", () => {
      wait();
      if (request.status === 200) hear();
    });
    request.addEventListener("load", () => {
      if (request.status === 200) hear();
      over(() => reject(failure(errorIn(request.responseText)))); // unless it is settled already
    });
    for (const kind of ["error", "abort"]) request.addEventListener(kind, () => over(() => reject(failure())));
    signal.addEventListener("abort", cancel);

    const form = new FormData();
    if (language) form.append("language", language);
    form.append("file", file);
    request.open("POST", url);
    request.setRequestHeader("Accept", "text/event-stream");
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    wait();
    request.send(form);
  });
}

/** @param {string} answer */
function errorIn(answer) {
  try {
    return JSON.parse(answer).error;
  } catch {
    return undefined; // a proxy's page, or a stream that broke off
  }
}

/** @param {{code?: string, message?: string, param?: string | null}} [error] */
function failure(error) {
  return new UploadError(error?.code ?? "upload.failed", error?.message ?? "", error?.param ?? "");
}
