// @ts-check
/** What the library takes from the browser, in one place: a test brings its own sockets, recorders and clock. */

/**
 * `events` is where `online` and `visibilitychange` are told; `visible` says whether somebody can see the page.
 * `now` counts milliseconds from anywhere, `random` is 0 to 1.
 * @typedef {object} World
 * @property {typeof globalThis.WebSocket} [WebSocket]
 * @property {typeof globalThis.MediaRecorder} [MediaRecorder]
 * @property {typeof globalThis.XMLHttpRequest} [XMLHttpRequest]
 * @property {typeof globalThis.fetch} fetch
 * @property {MediaDevices} [mediaDevices]
 * @property {string} userAgent
 * @property {EventTarget} events
 * @property {() => boolean} visible
 * @property {() => number} now
 * @property {() => number} random
 * @property {(act: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 */

/** @returns {World} the real one */
export function browser() {
  const { WebSocket, MediaRecorder, XMLHttpRequest, navigator, document } = globalThis;
  return {
    WebSocket,
    MediaRecorder,
    XMLHttpRequest,
    fetch: (...request) => globalThis.fetch(...request),
    mediaDevices: navigator.mediaDevices,
    userAgent: navigator.userAgent,
    events: globalThis, // visibilitychange bubbles up to it
    visible: () => document.visibilityState === "visible",
    now: () => performance.now(),
    random: () => Math.random(),
    setTimeout: (act, ms) => globalThis.setTimeout(act, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
  };
}
