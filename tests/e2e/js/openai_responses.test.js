// openai-node, Responses: its accumulator throws where events are not as the official API sends them.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { baseURL, model, picture, question, weatherParameters } from "./setup.js";

const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const weather = { type: "function", name: "get_weather", description: "The weather of a city.", parameters: weatherParameters, strict: true };

async function streamed(request) {
  const stream = client.responses.stream({ model, temperature: 0, max_output_tokens: 300, ...request });
  const events = [];
  for await (const event of stream) events.push(event);
  return { events, final: await stream.finalResponse() };
}

test("the accumulator's snapshot is the answer", async () => {
  const { events, final } = await streamed({ input: "Hello!" });
  const text = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
  const whole = await client.responses.create({ model, temperature: 0, max_output_tokens: 300, input: "Hello!" });
  assert.equal(final.output_text, text);
  assert.equal(whole.output_text, text);
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
});

test("thought, text and call", async () => {
  for (const summary of [null, "auto"]) {
    const { events, final } = await streamed({ input: question, tools: [weather], tool_choice: "required", reasoning: { effort: "low", summary }, include: ["reasoning.encrypted_content"] });
    const call = final.output.find((item) => item.type === "function_call");
    assert.equal(call.name, "get_weather");
    assert.ok("city" in JSON.parse(call.arguments));
    const last = events.at(-1);
    assert.equal(last.type, "response.completed");
    const done = events.filter((event) => event.type === "response.output_item.done").map((event) => event.item);
    assert.deepEqual(last.response.output, done);
  }
});

test("a call's result goes back", async () => {
  const first = await client.responses.create({ model, input: question, tools: [weather], tool_choice: { type: "function", name: "get_weather" }, temperature: 0, max_output_tokens: 200 });
  const call = first.output.find((item) => item.type === "function_call");
  const result = { type: "function_call_output", call_id: call.call_id, output: "22 degrees and sunny" };
  const byId = await client.responses.create({ model, previous_response_id: first.id, input: [result], tools: [weather], temperature: 0, max_output_tokens: 200 });
  const byItems = await client.responses.create({ model, input: [{ role: "user", content: question }, ...first.output, result], tools: [weather], temperature: 0, max_output_tokens: 200 });
  assert.equal(byId.output_text, byItems.output_text);
  assert.equal(byId.usage.input_tokens, byItems.usage.input_tokens);
});

test("free text for a custom tool", async () => {
  const { events, final } = await streamed({ input: "Write down: hello", tools: [{ type: "custom", name: "note", description: "Writes down free text." }], tool_choice: "required", max_output_tokens: 60 });
  const item = final.output.find((each) => each.type === "custom_tool_call");
  assert.equal(item.name, "note");
  assert.ok(events.some((event) => event.type === "response.custom_tool_call_input.done"));
});

test("parse gives an object, streamed and not", async () => {
  const format = { text: { format: zodTextFormat(z.object({ yes: z.boolean() }), "answer") } };
  const parsed = await client.responses.parse({ model, input: "Is it?", temperature: 0, max_output_tokens: 100, ...format });
  assert.equal(typeof parsed.output_parsed.yes, "boolean");
  const { final } = await streamed({ input: "Is it?", ...format });
  assert.deepEqual(final.output_parsed, parsed.output_parsed);
});

test("a picture", async () => {
  const image_url = "data:image/jpeg;base64," + picture.toString("base64");
  const { final } = await streamed({ input: [{ role: "user", content: [{ type: "input_image", image_url, detail: "low" }, { type: "input_text", text: "Describe the picture." }] }] });
  assert.ok(final.output_text.length > 0);
});

test("an answer that is cut is incomplete", async () => {
  const { events, final } = await streamed({ input: "Hello!", max_output_tokens: 2, ignore_eos: true });
  assert.equal(events.at(-1).type, "response.incomplete");
  assert.equal(final.status, "incomplete");
  assert.equal(final.incomplete_details.reason, "max_output_tokens");
});

test("a stored stream is seen again from where it broke", async () => {
  const { events, final } = await streamed({ input: "Hello!" });
  const again = await client.responses.retrieve(final.id, { stream: true, starting_after: 2 });
  const rest = [];
  for await (const event of again) rest.push(event);
  assert.deepEqual(rest.map((event) => event.type), events.slice(3).map((event) => event.type));
  assert.equal(rest.at(-1).response.output[0].content[0].text, final.output_text);
});

test("input items come in pages", async () => {
  const input = Array.from({ length: 5 }, (_, i) => ({ role: "user", content: `number ${i}` }));
  const response = await client.responses.create({ model, input, max_output_tokens: 5 });
  const seen = [];
  for await (const item of client.responses.inputItems.list(response.id, { limit: 2, order: "asc" })) seen.push(item.content[0].text);
  assert.deepEqual(seen, input.map((item) => item.content));
});

test("errors are the client's", async () => {
  await assert.rejects(client.responses.create({ model, input: "x", previous_response_id: "resp_none" }), (error) => error instanceof OpenAI.NotFoundError && error.code === "previous_response_not_found");
  await assert.rejects(client.responses.create({ model, input: "apple ".repeat(40000) }), (error) => error.code === "context_length_exceeded");
  await assert.rejects(client.responses.compact({ model, input: "x" }), OpenAI.NotFoundError);
});
