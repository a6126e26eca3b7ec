// @ts-check
/** The two ways to follow a room: a WebSocket, and a stream of events over HTTP where WebSockets are blocked. */

/**
 * How it ended. `over`: the server had nothing more to say. Otherwise what it told of the fault, if anything.
 * @typedef {{over: boolean, code: string, message: string, retry_after_s: number}} Ending
 *
 * @callback Way
 * @param {string} room its address, https://…/api/rooms/keynote
 * @param {string} after what is known already: epoch:offset, or ""
 * @param {import("./world.js").World} world
 * @param {(message: any) => void} hear null is a sign of life
 * @param {(ending: Ending) => void} end called once
 * @returns {() => void} hangs up, and nothing is told any more
 */

/** @type {Readonly<Ending>} */
export const BROKEN = Object.freeze({ over: false, code: "", message: "", retry_after_s: 0 });

/** @type {Way} */
export function bySocket(room, after, world, hear, end) {
  let fault = BROKEN;
  let mine = true;
  /** @type {WebSocket | undefined} */
  let socket;
  const over = (/** @type {Ending} */ ending) => {
    if (mine) end(ending);
    mine = false;
  };
  try {
    if (!world.WebSocket) throw new TypeError("this browser has no WebSocket");
    socket = new world.WebSocket(`${room.replace(/^http/, "ws")}${query(after)}`);
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "error") fault = told(message.error); // its close follows
      else if (mine) hear(message);
    });
    socket.addEventListener("close", ({ code }) => over({ ...fault, over: code === 1000 }));
  } catch {
    queueMicrotask(() => over(BROKEN));
  }
  return () => {
    mine = false;
    socket?.close();
  };
}

/**
 * With fetch: an EventSource does not tell why it was refused, and comes back by rules of its own.
 * @type {Way}
 */
export function byEvents(room, after, world, hear, end) {
  const leaving = new AbortController();
  const { signal } = leaving;
  const mine = (/** @type {any} */ message) => {
    if (!signal.aborted) hear(message);
  };
  void read(`${room}/events${query(after)}`, signal, world, mine).then((ending) => {
    if (!signal.aborted) end(ending);
  });
  return () => leaving.abort();
}

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @param {import("./world.js").World} world
 * @param {(message: any) => void} hear
 * @returns {Promise<Ending>}
 */
async function read(url, signal, world, hear) {
  let fault = { ...BROKEN, over: true };
  try {
    const answer = await world.fetch(url, { signal, cache: "no-store" });
    if (!answer.ok || !answer.body) return told((await answer.json()).error);
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    for (let unread = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return fault;
      const events = (unread + decoder.decode(value, { stream: true })).split("\n\n");
      unread = /** @type {string} */ (events.pop());
      for (const event of events) {
        const data = event.split("\n").find((line) => line.startsWith("data:"));
        const message = data ? JSON.parse(data.slice("data:".length)) : null;
        if (message?.type === "error") fault = told(message.error); // the end follows
        else hear(message);
      }
    }
  } catch {
    return BROKEN; // no network, or a proxy's page instead of an answer
  }
}

/** @param {string} after */
function query(after) {
  return after ? `?after=${encodeURIComponent(after)}` : "";
}

/** @param {any} error the server's error object @returns {Ending} */
function told({ code, message, retry_after_s }) {
  return { over: false, code, message, retry_after_s: retry_after_s ?? 0 };
}
