// @ts-check
/** Everything recorded between start and stop, kept in case the live way fails: one file for each recorder. */

const LIMIT_BYTES = 64 * 1024 * 1024; // the server's longest session, four hours, at 32 kbit/s

/** Suffixes by container; the server looks at the bytes, people look at the name. */
const SUFFIXES = /** @type {Record<string, string>} */ ({
  "audio/webm": "webm",
  "audio/mp4": "m4a",
  "audio/ogg": "ogg",
});

export class Recording {
  /** @type {{recorder: {mimeType: string}, chunks: Blob[]}[]} */
  #parts = [];
  bytes = 0;
  /** No more fits. What is kept is a playable beginning, never a hole. */
  full = false;

  /** The next chunks are this recorder's. @param {{mimeType: string}} recorder who knows its type once it runs */
  begin(recorder) {
    this.#parts.push({ recorder, chunks: [] });
  }

  /** @param {Blob} chunk */
  add(chunk) {
    if (this.full || this.bytes + chunk.size > LIMIT_BYTES) {
      this.full = true;
      return;
    }
    this.#parts.at(-1)?.chunks.push(chunk);
    this.bytes += chunk.size;
  }

  /** @returns {File[]} in order; each one plays by itself */
  files() {
    return this.#parts
      .filter(({ chunks }) => chunks.length > 0)
      .map(({ recorder, chunks }, i) => {
        const container = recorder.mimeType.split(";")[0].trim().toLowerCase();
        const name = `recording${i ? ` ${i + 1}` : ""}.${SUFFIXES[container] ?? "webm"}`;
        return new File(chunks, name, { type: recorder.mimeType });
      });
  }
}
