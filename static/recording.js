// @ts-check
/** Everything recorded in one take, kept in case the live way fails. */

const LIMIT_BYTES = 64 * 1024 * 1024; // the server's longest session, four hours, at 32 kbit/s

/** Suffixes by container; the server looks at the bytes, people look at the name. */
const SUFFIXES = /** @type {Record<string, string>} */ ({
  "audio/webm": "webm",
  "audio/mp4": "m4a",
  "audio/ogg": "ogg",
});

export class Recording {
  /** @type {Blob[]} */
  #chunks = [];
  bytes = 0;
  /** No more fits. What is kept is a playable beginning, never a hole. */
  full = false;

  /** @param {Blob} chunk */
  add(chunk) {
    if (this.full || this.bytes + chunk.size > LIMIT_BYTES) {
      this.full = true;
      return;
    }
    this.#chunks.push(chunk);
    this.bytes += chunk.size;
  }

  /** @param {string} mimeType @returns {File} */
  file(mimeType) {
    const container = mimeType.split(";")[0].trim().toLowerCase();
    return new File(this.#chunks, `recording.${SUFFIXES[container] ?? "webm"}`, { type: mimeType });
  }
}
