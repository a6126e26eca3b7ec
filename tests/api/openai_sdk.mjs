// What a program does with OpenAI's library for Node; prints what it was told. Arguments: base URL, key, recording.

import { File } from "node:buffer";
import { createReadStream, readFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";

globalThis.File ??= File; // Node 18 has it only there, and the library wants it

const [baseURL, apiKey, recording] = process.argv.slice(2);
const { audio, models } = new OpenAI({ baseURL, apiKey, timeout: 60_000, maxRetries: 0 });
const model = "whisper-1";
const ask = (options) => audio.transcriptions.create({ model, file: createReadStream(recording), ...options });

const file = await toFile(readFileSync(recording), "blob", { type: "audio/webm;codecs=opus" });
let streamed = "";
for await (const event of await ask({ file, stream: true })) {
  if (event.type === "transcript.text.delta") streamed += event.delta;
}
const told = {
  plain: await ask({ language: "en" }),
  verbose: await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] }),
  vtt: await ask({ response_format: "vtt" }),
  streamed,
  model: (await models.list()).data[0],
  refused: await ask({ language: "xx" }).catch(({ status, code, param }) => ({ status, code, param })),
  stranger: await new OpenAI({ baseURL, apiKey: "wrong" }).models
    .list()
    .catch(({ status, code }) => ({ status, code })),
};
console.log(JSON.stringify(told));
