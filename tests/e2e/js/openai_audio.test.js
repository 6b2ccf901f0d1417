// openai-node, transcriptions: it uploads in pieces, the file first, under a type that says nothing.
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import OpenAI from "openai";
import { baseURL, model, recording } from "./setup.js";

const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });

test("a recording is uploaded and transcribed", async () => {
  const whole = await client.audio.transcriptions.create({ model, file: fs.createReadStream(recording) });
  assert.equal(typeof whole.text, "string");
  const text = await client.audio.transcriptions.create({ model, file: fs.createReadStream(recording), response_format: "text" });
  assert.equal(text.trim(), whole.text.trim());
  const stream = await client.audio.transcriptions.create({ model, file: fs.createReadStream(recording), stream: true });
  let said = "";
  for await (const event of stream) if (event.type === "transcript.text.delta") said += event.delta;
  assert.equal(said.trim(), whole.text.trim());
});
