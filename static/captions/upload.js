// @ts-check
/** The way without WebSocket: the whole recording in one POST. XMLHttpRequest, because fetch tells no progress. */

const LONGEST_MS = 15 * 60_000; // hours of speech may be in the file; after this nobody waits any more

/** The server's error object, or `upload.failed` when there was no answer. */
export class UploadError extends Error {
  /** @param {string} code @param {string} message @param {string} param */
  constructor(code, message, param) {
    super(message);
    this.code = code;
    this.param = param;
  }
}

/**
 * @param {File} file
 * @param {{language: string, token: string}} options as of CaptionClient
 * @param {string} url
 * @param {Pick<import("./world.js").World, "XMLHttpRequest">} world
 * @param {(fraction: number) => void} progress of sending, 0 to 1; at 1 the server is working
 * @returns {Promise<{transcript: string, language?: string, duration?: number}>} rejects with UploadError
 */
export function upload(file, { language, token }, url, { XMLHttpRequest }, progress) {
  return new Promise((resolve, reject) => {
    if (!XMLHttpRequest) return reject(failure());
    const request = new XMLHttpRequest();
    const form = new FormData();
    if (language) form.append("language", language);
    form.append("file", file);
    request.open("POST", url);
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.responseType = "json";
    request.timeout = LONGEST_MS;
    request.upload.addEventListener("progress", ({ loaded, total }) => progress(total ? loaded / total : 0));
    request.upload.addEventListener("load", () => progress(1));
    request.addEventListener("load", () => {
      const answer = request.response;
      if (request.status === 200 && typeof answer?.transcript === "string") resolve(answer);
      else reject(failure(answer?.error));
    });
    for (const kind of ["error", "timeout", "abort"]) request.addEventListener(kind, () => reject(failure()));
    request.send(form);
  });
}

/** @param {{code?: string, message?: string, param?: string | null}} [error] */
function failure(error) {
  return new UploadError(error?.code ?? "upload.failed", error?.message ?? "", error?.param ?? "");
}
