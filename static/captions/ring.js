// @ts-check
/** What was recorded and is not acknowledged yet, by byte position: what a resumed session needs again. */

const MOST_BYTES = 4 * 1024 * 1024; // a quarter of an hour at 32 kbit/s, more than anybody knocks for
const HEAD_BYTES = 16 * 1024; // holds every recorder's header (0.2 to 2 kB), whose length the first ack tells

/**
 * A place in the session's sound: byte `bytes` of recording number `recording`; the first `header` bytes of that
 * recording have to be sent before it.
 * @typedef {{recording: number, bytes: number, header: number}} Place
 * @typedef {{recording: number, data: Blob}} Piece
 */

/** @type {Place} */
export const BEGINNING = Object.freeze({ recording: 0, bytes: 0, header: 0 });

export class Ring {
  /** @type {{recording: number, start: number, data: Blob}[]} */
  #chunks = [];
  /** @type {Map<number, Blob>} the first bytes of each recording */
  #heads = new Map();
  /** @type {Place} */
  #acknowledged = BEGINNING;
  /** Up to here nothing is held any more. */
  #gone = { recording: 0, bytes: 0 };
  /** Bytes of the newest recording so far. */
  #position = 0;
  /** The number of the newest recording. */
  recording = 0;
  /** Unacknowledged bytes that are held. */
  bytes = 0;

  /** A new recorder begins: its header follows. */
  next() {
    this.recording += 1;
    this.#position = 0;
  }

  /** The next bytes of the newest recording. @param {Blob} data */
  add(data) {
    const head = this.#heads.get(this.recording) ?? new Blob();
    if (head.size < HEAD_BYTES) {
      this.#heads.set(this.recording, new Blob([head, data.slice(0, HEAD_BYTES - head.size)]));
    }
    this.#chunks.push({ recording: this.recording, start: this.#position, data });
    this.#position += data.size;
    this.bytes += data.size;
    while (this.bytes > MOST_BYTES) this.#drop();
  }

  /** Nothing before this place is needed any more, except the header. @param {Place} place */
  trim(place) {
    this.#acknowledged = place;
    for (const recording of this.#heads.keys()) if (recording < place.recording) this.#heads.delete(recording);
    while (this.#chunks.length > 0 && !before(place, end(this.#chunks[0]))) this.#drop();
  }

  /**
   * Everything to be sent for a session that goes on at `place`, in order.
   * @param {Place} place
   * @returns {Piece[] | null} null when some of it is not here any more
   */
  from({ recording, bytes, header }) {
    const pieces = [];
    if (header > 0) {
      const head = this.#heads.get(recording);
      if (!head || head.size < header) return null;
      pieces.push({ recording, data: head.slice(0, header) });
    }
    if (before({ recording, bytes }, this.#gone)) return null;
    for (const chunk of this.#chunks) {
      if (!before({ recording, bytes }, end(chunk))) continue;
      const skip = chunk.recording === recording ? Math.max(0, bytes - chunk.start) : 0;
      pieces.push({ recording: chunk.recording, data: chunk.data.slice(skip) });
    }
    return pieces;
  }

  /**
   * The same sound for a session that knows nothing of the former one: from the last acknowledged place on, behind
   * its header, counted from 0.
   * @returns {Ring | null} null when some of it is not here any more
   */
  anew() {
    const ring = new Ring();
    const pieces = this.from(this.#acknowledged);
    if (!pieces) return null;
    for (const { recording, data } of pieces) {
      while (ring.recording < recording - this.#acknowledged.recording) ring.next();
      ring.add(data);
    }
    while (ring.recording < this.recording - this.#acknowledged.recording) ring.next();
    return ring;
  }

  #drop() {
    const chunk = this.#chunks.shift();
    if (!chunk) return;
    this.bytes -= chunk.data.size;
    this.#gone = end(chunk);
  }
}

/** @param {{recording: number, start: number, data: Blob}} chunk */
function end({ recording, start, data }) {
  return { recording, bytes: start + data.size };
}

/** @param {{recording: number, bytes: number}} a @param {{recording: number, bytes: number}} b */
function before(a, b) {
  return a.recording < b.recording || (a.recording === b.recording && a.bytes < b.bytes);
}
