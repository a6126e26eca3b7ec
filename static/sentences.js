// @ts-check
/** Every word the page says about itself. */

/**
 * The state of the session, and what the button does in it.
 * @type {Record<import("./captions/client.js").State, {state: string, button: string}>}
 */
export const STATES = {
  idle: { state: "Ready", button: "Start captions" },
  asking: { state: "Waiting for the microphone", button: "Starting…" },
  connecting: { state: "Connecting", button: "Stop" },
  listening: { state: "Listening", button: "Stop" },
  offline: { state: "Still recording", button: "Stop" },
  recording: { state: "Recording, not live", button: "Stop and transcribe" },
  finishing: { state: "Catching the last words", button: "Finishing…" },
  waiting: { state: "Waiting for the engine", button: "Stop waiting" },
  stranded: { state: "Waiting for the connection", button: "Stop waiting" },
  uploading: { state: "Sending the recording", button: "Cancel" },
  done: { state: "Done", button: "Start captions" },
  trouble: { state: "Stopped", button: "Try again" },
};

/** In the place of the state: when somebody paused it; when a recording is all sent. */
export const PAUSED = "Paused";
export const TRANSCRIBING = "Transcribing the recording";

/** Asked before a file is opened, whose captions stand alone. */
export const CLEARS = "Opening a file clears the captions that are here. Download them first if you need them.";

/**
 * The heading where the captions will be, while there are none.
 * @type {Record<import("./captions/client.js").State, [string, string]>}
 */
export const EMPTY_STATES = {
  idle: ["Say it. Read it.", "Press the button and speak. Your words appear here while you talk."],
  asking: ["Allow the microphone", "Your browser asks whether this page may listen. Choose Allow."],
  connecting: ["One moment", "You can already speak: nothing is lost."],
  listening: ["Listening", "Speak now."],
  offline: ["Still recording", "Your words appear here when the connection is back."],
  recording: ["Recording", "Your words appear here after you stop."],
  finishing: ["Almost there", "The last words are on their way."],
  waiting: ["Almost there", "The speech engine is slow to answer. Your words come when it does."],
  stranded: ["Almost there", "Your words come when the connection is back."],
  uploading: ["One moment", "The recording is being transcribed."],
  done: ["No words this time", "No speech was heard. Check that the right microphone is chosen, and try again."],
  trouble: ["Not yet", "The message below says what to do."],
};

/** The same of a file that was opened. */
export const EMPTY_FILE = ["No words in it", "No speech was heard in this recording."];

/**
 * What happened, and what to do. Codes of the server (protocol, errors) and of this page.
 * @type {Record<string, string>}
 */
const NOTICES = {
  "microphone.denied":
    "The microphone is blocked here. In the site settings beside the address, allow the microphone, then try again.",
  "microphone.missing": "No microphone was found. Plug one in or switch one on, then try again.",
  "microphone.busy": "The microphone is in use by another program. Close that program, then try again.",
  "microphone.insecure":
    "Browsers only allow the microphone on secure pages. Open this page with https:// or on localhost.",
  "microphone.failed": "The microphone did not start. Check that it is connected, then try again.",
  "microphone.gone": "The microphone was disconnected. What you said until then is kept.",
  "microphone.changed": "The microphone was disconnected. Keep talking: another one is being used now.",
  "microphone.quiet": "I hear nothing yet. Is the microphone muted, or is another one chosen?",
  "display.missing": "This browser cannot share the sound of a tab. Use Chrome or Edge on a computer.",
  "display.denied": "No tab was chosen. Press the button again, and choose one together with its sound.",
  "display.silent":
    "It was shared without its sound. Try again in Chrome or Edge, choose a tab, and switch on “Also share tab audio”.",
  "source.gone": "The sound has ended. What was said until then is kept.",
  "recorder.missing": "This browser cannot record sound. Use a current Chrome, Edge, Firefox or Safari.",
  "recording.empty": "Nothing was recorded. Hold on for a second after you start, then try again.",
  "recording.full": "The recording has reached its longest size. The captions so far are kept; start again to go on.",
  "live.down": "The live connection broke. Keep talking: I am still recording, and the captions will catch up.",
  "live.down.at_stop":
    "The live connection broke. All is recorded; the last words come when it is back. Keep this page open.",
  "live.anew": "The live connection was away too long for the same session. Nothing is lost: a new one goes on here.",
  "live.blocked":
    "Live captions are blocked on this network. Keep talking: I am recording, and your text comes when you stop.",
  "live.blocked.at_stop": "Live captions cannot get through on this network. The recording is sent instead.",
  "live.lost": "The live connection broke. Keep talking: I am still recording, and the whole text comes when you stop.",
  "live.lost.at_stop":
    "The live connection broke before the last words. The recording is sent again to get the whole text.",
  "upload.cancelled": "The recording was not transcribed. Send it again to get the whole text, or save the audio.",
  "upload.failed": "The recording could not be sent. Check your connection, then send it again, or save the audio.",
  "idle.timeout": "The session ended because nothing was heard for a while. Start again when you are ready.",
  "engine.unavailable": "The speech engine does not answer. Your recording is kept here; send it again in a minute.",
  "engine.delayed": "Captions are running late. Keep talking: they will catch up.",
  "room.degraded": "Captions may not reach all who read along at the moment. Keep talking: they will catch up.",
  "caption.degraded": "The engine could not read all of it; a line may not be complete.",
  "audio.gap": "A piece of the sound went missing; a few words may not be there.",
  "waiting.stopped":
    "The last words did not come, and may be missing. Send the recording to get the whole text, or save the audio.",
  "quota.sessions": "All places are taken at the moment. Try again in a minute.",
  "server.overloaded": "The server is very busy. Try again in a minute.",
  "server.draining": "The server is restarting. Try again in a minute.",
  "session.too_long": "The session has reached its longest time. Your captions are kept; start again to go on.",
  "audio.unsupported_format":
    "The server cannot read what this browser records. Use a current Chrome, Edge, Firefox or Safari.",
  "audio.corrupt": "The recording arrived damaged. Start again; if it happens twice, reload the page.",
  "audio.too_large": "The recording is too large for this server. Save the audio, and make shorter recordings.",
  "auth.missing": "This server asks for an invitation. Open the whole link that you were given, with its token at the end.",
  "auth.invalid": "The token in this address is not one of this server. Ask for a new link, open it, then try again.",
  "auth.expired": "The token in this address has expired. Ask for a new link, open it, then try again.",
  "origin.forbidden": "This address may not use the captions server. Ask whoever runs it to allow this site.",
  "copy.failed": "The browser did not allow copying. The text is selected: press Ctrl+C (⌘C on a Mac).",
};

/**
 * Where a file was opened, and nothing was recorded.
 * @type {Record<string, string>}
 */
const FILE_NOTICES = {
  "upload.failed": "Not all of it went through. Check your connection, then send the file again.",
  "engine.unavailable": "The speech engine does not answer. Send the file again in a minute.",
  "idle.timeout": "The file stopped coming in. Check your connection, then send it again.",
  "audio.unsupported_format": "The server cannot read this file. It takes WebM, MP4, M4A, Ogg, WAV, MP3, FLAC and AAC.",
  "audio.corrupt": "There is no sound in this file that can be read. Choose another one.",
  "audio.too_large": "The file is too large for this server. Cut it into shorter ones.",
};

/**
 * @param {import("./captions/client.js").Notice} notice
 * @param {boolean} [ofFile] it is about a file that was opened
 */
export function sentence({ code, message, param }, ofFile = false) {
  if (param === "language") {
    return `${capital(message || "This language is not available")} Choose another language, then try again.`;
  }
  const known = (ofFile && FILE_NOTICES[code]) || NOTICES[code];
  return known ?? `Something went wrong. ${message ? capital(message) : ""} Try again in a moment.`;
}

/**
 * The state of a room that is followed.
 * @type {Record<import("./captions/viewer.js").State, string>}
 */
export const ROOM_STATES = {
  connecting: "Connecting",
  waiting: "Waiting",
  live: "Live",
  silent: "Nobody speaks now",
  ended: "Ended",
  expired: "Ended",
  offline: "Reconnecting",
  trouble: "Stopped",
};

/**
 * The heading where its captions will be, while there are none.
 * @type {Record<import("./captions/viewer.js").State, [string, string]>}
 */
export const EMPTY_ROOM = {
  connecting: ["One moment", ""],
  waiting: ["Nobody speaks yet", "Captions appear here by themselves when somebody does. Keep this page open."],
  live: ["Listening", "Captions appear here as somebody speaks."],
  silent: ["Nothing was said", "Captions appear here if somebody goes on."],
  ended: ["Nothing was said", "Captions appear here if somebody goes on."],
  expired: ["It is over", "What was said here is not kept any more."],
  offline: ["No connection", "Captions appear here as soon as the server answers."],
  trouble: ["Not here", "The message below says what to do."],
};

/** @type {[string, string]} */
export const NO_ROOM = ["Which room?", "The link has none. Ask for the whole one: it ends in the name of the room."];

/** What is wrong with a room. @param {string} code of the server, or "degraded" */
export function roomSentence(code) {
  const known = {
    degraded: "A part of the server is away. Captions may be missing, and come later.",
    "request.invalid": "No room can have this name. Ask for the whole link again, and open it.",
    "origin.forbidden": NOTICES["origin.forbidden"],
  };
  return known[/** @type {keyof typeof known} */ (code)] ?? "The server refuses to show this room. Ask whoever runs it.";
}

/** Before a line of captions. @param {number} count of finals that are lost */
export function lost(count) {
  return count === 1 ? "One line is missing here" : `${count} lines are missing here`;
}

/** How long, as a clock shows it. @param {number} seconds */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1).replace(/[.\s]*$/, ".");
}
