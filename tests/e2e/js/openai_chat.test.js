// openai-node, chat completions.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { baseURL, model, question, weatherParameters } from "./setup.js";

const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const tools = [{ type: "function", function: { name: "get_weather", description: "The weather of a city.", parameters: weatherParameters } }];

test("the stream helper's snapshot is the answer", async () => {
  const request = { model, messages: [{ role: "user", content: "Hello!" }], temperature: 0, max_tokens: 100 };
  const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const final = await stream.finalChatCompletion();
  const whole = await client.chat.completions.create(request);
  assert.equal(final.choices[0].message.content, text);
  assert.equal(whole.choices[0].message.content, text);
  assert.equal(final.choices[0].finish_reason, whole.choices[0].finish_reason);
  assert.equal(final.usage.total_tokens, whole.usage.total_tokens);
});

test("the stream helper puts calls together", async () => {
  for (const tool_choice of ["required", { type: "function", function: { name: "get_weather" } }]) {
    const request = { model, messages: [{ role: "user", content: question }], tools, tool_choice, temperature: 0, max_tokens: 200 };
    const final = await client.chat.completions.stream(request).finalChatCompletion();
    const [call] = final.choices[0].message.tool_calls;
    assert.equal(final.choices[0].finish_reason, "tool_calls");
    assert.equal(call.type, "function");
    assert.equal(call.function.name, "get_weather");
    assert.match(call.id, /^call_[0-9A-Za-z]+$/);
    const whole = await client.chat.completions.create(request);
    assert.equal(call.function.arguments, whole.choices[0].message.tool_calls[0].function.arguments);
    assert.ok("city" in JSON.parse(call.function.arguments));
  }
});

test("the tool runner goes round", async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model,
    messages: [{ role: "user", content: question }],
    temperature: 0,
    max_tokens: 200,
    stream: true,
    tools: [{ type: "function", function: { ...tools[0].function, parse: JSON.parse, function: (args) => (asked.push(args), "22 degrees and sunny") } }],
  }, { maxChatCompletions: 3 });
  await runner.finalChatCompletion().catch((error) => assert.match(error.message, /maximum|ended without/i));
  assert.ok(runner.messages.length >= 2);
  if (asked.length > 0) assert.ok(runner.messages.some((message) => message.role === "tool"));
});

test("parse gives an object", async () => {
  const completion = await client.chat.completions.parse({
    model, messages: [{ role: "user", content: "Is it?" }], temperature: 0, max_tokens: 100,
    response_format: zodResponseFormat(z.object({ yes: z.boolean() }), "answer"),
  });
  assert.equal(typeof completion.choices[0].message.parsed.yes, "boolean");
});

test("errors are the client's", async () => {
  await assert.rejects(client.chat.completions.create({ model: "none", messages: [{ role: "user", content: "x" }] }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found" && !!error.requestID);
  await assert.rejects(client.chat.completions.create({ model, messages: [] }), OpenAI.BadRequestError);
});

test("a stream can be left", async () => {
  const stream = await client.chat.completions.create({ model, messages: [{ role: "user", content: "Hello!" }], stream: true, max_tokens: 500, ignore_eos: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) break;
  const after = await client.chat.completions.create({ model, messages: [{ role: "user", content: "Hello!" }], max_tokens: 5 });
  assert.ok(after.id);
});
