/** A small world for the library: a clock that moves when told, sockets and recorders that do what the test says. */

export class FakeWorld {
  time = 0;
  events = new EventTarget();
  isVisible = true;
  userAgent = "Gecko/20100101 Firefox/150";
  /** @type {FakeSocket[]} */
  sockets = [];
  /** @type {FakeStream[]} what was fetched */
  streams = [];
  /** @type {FakeRecorder[]} */
  recorders = [];
  /** @type {{file: File}[]} */
  posted = [];
  /** What is answered at once to the files that are posted; then nothing. */
  transcripts = ["the whole text"];
  /** @type {FakeRequest} the newest */
  request;
  microphones = 9;
  /** What somebody shares of a tab; null: nothing. */
  display = ["video", "audio"];
  #timers = [];

  constructor() {
    const world = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url, protocols) {
        super(url, protocols);
        world.sockets.push(this);
      }
    };
    this.MediaRecorder = class extends FakeRecorder {
      constructor(stream) {
        super(stream);
        world.recorders.push(this);
      }
    };
    this.XMLHttpRequest = class extends FakeRequest {
      send(form) {
        world.posted.push(form.get("file"));
        world.request = this;
        const text = world.transcripts.shift();
        if (text) this.tell(spoken(1, text), { type: "done", transcript: text, duration: 3 });
      }
    };
    this.mediaDevices = {
      getUserMedia: async () => {
        if (this.microphones-- <= 0) throw new DOMException("none", "NotFoundError");
        return new FakeSound("audio");
      },
      getDisplayMedia: async () => {
        if (!this.display) throw new DOMException("no", "NotAllowedError");
        return new FakeSound(...this.display);
      },
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get stream() {
    return this.streams.at(-1);
  }

  fetch = (url, { signal }) => {
    const stream = new FakeStream(url, signal);
    this.streams.push(stream);
    return stream.answer;
  };

  get recorder() {
    return this.recorders.at(-1);
  }

  now = () => this.time;
  random = () => 0.5; // the middle of the jitter
  visible = () => this.isVisible;

  setTimeout = (act, ms) => {
    const timer = { act, at: this.time + ms };
    this.#timers.push(timer);
    return timer;
  };

  clearTimeout = (timer) => {
    this.#timers = this.#timers.filter((other) => other !== timer);
  };

  /** Moves the clock, and does on the way what is due. */
  async pass(seconds) {
    const until = this.time + seconds * 1000;
    for (;;) {
      await settled();
      const due = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.clearTimeout(due);
      this.time = Math.max(this.time, due.at);
      due.act();
    }
    this.time = until;
  }
}

/** All promises that can be kept are. */
export const settled = () => new Promise((done) => setImmediate(done));

export class FakeSocket extends EventTarget {
  readyState = 0;
  /** @type {(object | Blob)[]} what the client said */
  said = [];

  constructor(url, protocols) {
    super();
    this.url = url;
    this.protocols = protocols;
  }

  send(data) {
    if (this.readyState !== 1) throw new DOMException("not open", "InvalidStateError");
    this.said.push(typeof data === "string" ? JSON.parse(data) : data);
  }

  close() {
    this.readyState = 3;
  }

  // -- the server's side

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  tell(...messages) {
    for (const message of messages) {
      this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
    }
  }

  /** @param {number} code */
  break(code = 1006) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }

  /** The kinds of text messages, and the bytes between them as text. */
  async story() {
    const story = [];
    for (const one of this.said) {
      if (!(one instanceof Blob)) story.push(one.type);
      else if (story.at(-1)?.startsWith?.("«")) story.push(`«${story.pop().slice(1, -1)}${await one.text()}»`);
      else story.push(`«${await one.text()}»`);
    }
    return story.join(" ");
  }
}

/** An answer that comes piece by piece. */
class FakeStream {
  #bytes;
  #resolve;

  constructor(url, signal) {
    this.url = url;
    this.signal = signal;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    const { readable, writable } = new TransformStream();
    this.body = new Response(readable);
    this.#bytes = writable.getWriter();
  }

  get aborted() {
    return this.signal.aborted;
  }

  async write(bytes) {
    this.#resolve(this.body);
    this.#bytes.write(bytes);
    await settled();
  }

  tell(...messages) {
    const events = messages.map((message) => `data: ${JSON.stringify(message)}\n\n`);
    return this.write(new TextEncoder().encode(events.join("")));
  }

  async end() {
    this.#bytes.close();
    await settled();
  }

  async refuse(status, error) {
    this.#resolve(Response.json({ error }, { status }));
    await settled();
  }
}

class FakeSound {
  constructor(...kinds) {
    this.tracks = kinds.map((kind) => new FakeTrack(kind));
  }

  getTracks = () => this.tracks;
  getAudioTracks = () => this.tracks.filter(({ kind }) => kind === "audio");
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === "video");
  removeTrack = (track) => (this.tracks = this.tracks.filter((other) => other !== track));

  get track() {
    return this.tracks[0];
  }
}

class FakeTrack extends EventTarget {
  readyState = "live";

  constructor(kind) {
    super();
    this.kind = kind;
  }

  /** Whoever stops it is told nothing; recorders notice. */
  stop() {
    this.readyState = "ended";
    this.dispatchEvent(new Event("over"));
  }
}

class FakeRecorder extends EventTarget {
  static isTypeSupported = (type) => type === "audio/webm;codecs=opus";
  state = "inactive";
  /** What was said and is not told yet. */
  pending = "";
  mimeType = "audio/webm;codecs=opus";

  constructor(stream) {
    super();
    this.stream = stream;
    for (const track of stream.getTracks()) track.addEventListener("over", () => this.stop());
  }

  start() {
    this.#turn("recording", "start");
  }

  pause() {
    this.#turn("paused", "pause");
  }

  requestData() {
    if (this.pending) this.hear(this.pending);
    this.pending = "";
  }

  stop() {
    if (this.state === "inactive") return;
    this.state = "inactive";
    setImmediate(() => {
      this.requestData();
      this.dispatchEvent(new Event("stop"));
    });
  }

  resume() {
    this.#turn("recording", "resume");
  }

  #turn(state, event) {
    this.state = state;
    this.dispatchEvent(new Event(event));
  }

  /** @param {string} bytes */
  hear(bytes) {
    this.dispatchEvent(Object.assign(new Event("dataavailable"), { data: new Blob([bytes]) }));
  }

  /** The microphone is pulled out. */
  unplug() {
    this.stream.track.readyState = "ended";
    this.stream.track.dispatchEvent(new Event("ended"));
  }
}

class FakeRequest extends EventTarget {
  upload = new EventTarget();
  headers = {};
  status = 200;
  responseText = "";
  over = false;
  open() {}

  setRequestHeader(name, value) {
    this.headers[name] = value;
  }

  abort() {
    this.over = true;
    this.dispatchEvent(new Event("abort"));
  }

  // -- the server's side

  /** Events of the answer. */
  tell(...events) {
    this.write(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""));
  }

  /** The next characters of the answer. */
  write(text) {
    this.responseText += text;
    if (!this.over) this.dispatchEvent(new Event("progress"));
  }

  end(status = 200) {
    this.status = status;
    this.dispatchEvent(new Event("load"));
  }
}

// -- what a server says

export const READY = { type: "ready", session: "s_1", room: "s_1", engine: "scripted", recording: 0, limits: {} };
export const ack = (bytes, ticket, { recording = 0 } = {}) => ({ recording, bytes, header: bytes ? 3 : 0, ticket });
export const partial = (utterance, text) => ({ type: "partial", ...times(utterance), utterance, text, stable: 0 });
export const final = (offset, text, ack) => ({ ...spoken(offset, text), offset, ack });
/** A final of a file. */
export const spoken = (utterance, text) => ({ type: "final", utterance, ...times(utterance), text, words: [] });
const times = (utterance) => ({ start: utterance - 1, end: utterance });
export const resumed = (place) => ({ type: "resumed", session: "s_1", offset: 0, generation: 2, ...place });
export const room = (about) => ({ type: "room", room: "keynote", epoch: "e1", live: true, degraded: false, ...about });
export const gap = (first, last) => ({ type: "gap", first, last });
export const DONE = { type: "done", audio_s: 1, spoken_s: 1, billed_s: 1, finals: 1 };
export const error = (code, { retry_after_s = null } = {}) => ({
  type: "error",
  error: { code, message: code, param: null, retry_after_s },
});
