// What a program does with Deepgram's library for Node; prints what it was told.
// Arguments: address, key, recording, the sizes of its blobs, the same as samples (16 bits, 16 kHz).

import { readFileSync } from "node:fs";
import { DeepgramClient } from "@deepgram/sdk";

const [http, apiKey, recording, sizes, samples] = process.argv.slice(2);
const ws = http.replace("http", "ws");
const environment = { base: http, production: ws, agent: ws, agentRest: http };
const client = new DeepgramClient({ apiKey, environment });
const webm = readFileSync(recording);
const model = "nova-3";

/** One session; `say` gets the socket once it is open. The library would come back after any code but 1000. */
async function session(options, say) {
  const socket = await client.listen.v1.connect({ model, ...options, reconnectAttempts: 0 });
  const messages = [];
  const closes = [];
  const over = new Promise((resolve) => {
    socket.on("message", (message) => messages.push(message));
    socket.on("error", () => {});
    socket.on("close", ({ code }) => {
      closes.push(code);
      resolve();
    });
  });
  socket.connect();
  await socket.waitForOpen();
  say(socket);
  await over;
  const words = messages
    .filter(({ is_final }) => is_final)
    .flatMap(({ channel }) => channel.alternatives[0].words.map(({ word }) => word))
    .join(" ");
  return { messages, closes, words, last: messages.at(-1).type };
}

const blobs = await session({ interim_results: true }, (socket) => {
  let at = 0;
  for (const size of JSON.parse(readFileSync(sizes))) socket.sendMedia(webm.subarray(at, (at += size)));
  socket.sendCloseStream({ type: "CloseStream" });
});

const raw = { encoding: "linear16", sample_rate: 16_000, utterance_end_ms: 1000 };
const spoken = await session(raw, (socket) => {
  const pcm = readFileSync(samples);
  for (let at = 0; at < pcm.length; at += 3200) socket.sendMedia(pcm.subarray(at, at + 3200));
  socket.sendKeepAlive({ type: "KeepAlive" });
  socket.sendFinalize({ type: "Finalize" });
  socket.sendFinalize({ type: "Finalize" });
  socket.sendCloseStream({ type: "CloseStream" });
});

const headless = await session({}, (socket) => socket.sendMedia(webm.subarray(webm.length / 2)));
const file = await client.listen.v1.media.transcribeFile(webm, { model, smart_format: true });
const token = await client.auth.v1.tokens.grant();

console.log(
  JSON.stringify({
    blobs: { words: blobs.words, last: blobs.last, closes: blobs.closes },
    samples: {
      words: spoken.words,
      last: spoken.last,
      closes: spoken.closes,
      answers: spoken.messages.filter(({ from_finalize }) => from_finalize).length,
      types: spoken.messages.map(({ type }) => type),
    },
    headless: { ...headless.messages[0], code: headless.closes[0] },
    file: file.results.channels[0].alternatives[0].words.map(({ word }) => word).join(" "),
    expires_in: token.expires_in,
  }),
);
process.exit(); // the library's sockets would be waited for
