// Vercel AI SDK, over chat completions and over Responses, which its OpenAI provider takes by default.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import { baseURL, model, picture, question } from "./setup.js";

const compatible = createOpenAICompatible({ name: "lapidary", baseURL, includeUsage: true, supportsStructuredOutputs: true });
const openai = createOpenAI({ baseURL, apiKey: "none" });
const models = { compatible: compatible(model), responses: openai(model), chat: openai.chat(model) };
const weather = tool({ description: "The weather of a city.", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });

for (const [name, each] of Object.entries(models)) {
  const common = { model: each, temperature: 0, maxOutputTokens: 200, maxRetries: 0 };

  test(`${name}: generateText and streamText agree`, async () => {
    const whole = await generateText({ ...common, prompt: "Hello!" });
    assert.ok(whole.text.length > 0);
    assert.equal(whole.finishReason, "stop");
    const stream = streamText({ ...common, prompt: "Hello!" });
    const parts = [];
    for await (const part of stream.fullStream) {
      assert.notEqual(part.type, "error", String(part.error));
      parts.push(part.type);
    }
    assert.equal(await stream.text, whole.text);
    assert.equal(parts.at(-1), "finish");
    assert.equal((await stream.usage).inputTokens, whole.usage.inputTokens);
    assert.ok(whole.usage.outputTokens > 0);
  });

  test(`${name}: tools, in two steps`, async () => {
    const request = { ...common, prompt: question, tools: { weather }, toolChoice: "required", stopWhen: stepCountIs(2) };
    const whole = await generateText(request);
    assert.equal(whole.steps.length, 2);
    assert.match(whole.steps[0].toolResults[0].output, /^sunny in/);
    assert.equal(whole.steps[0].finishReason, "tool-calls");
    const stream = streamText(request);
    for await (const part of stream.fullStream) assert.notEqual(part.type, "error", String(part.error));
    const steps = await stream.steps;
    assert.deepEqual(steps[0].toolCalls.map((call) => call.input), whole.steps[0].toolCalls.map((call) => call.input));
  });

  test(`${name}: structured output`, async () => {
    const schema = z.object({ yes: z.boolean(), count: z.number().int().min(0).max(9) });
    const whole = await generateObject({ ...common, prompt: "Is it?", schema });
    assert.equal(typeof whole.object.yes, "boolean");
    const stream = streamObject({ ...common, prompt: "Is it?", schema });
    for await (const _ of stream.partialObjectStream);
    assert.deepEqual(await stream.object, whole.object);
  });

  test(`${name}: a picture`, async () => {
    const content = [{ type: "text", text: "Describe the picture." }, { type: "image", image: picture, mediaType: "image/jpeg" }];
    const whole = await generateText({ ...common, messages: [{ role: "user", content }] });
    assert.ok(whole.text.length > 0);
  });

  test(`${name}: an answer that is cut`, async () => {
    const whole = await generateText({ ...common, prompt: question, maxOutputTokens: 2 });
    assert.equal(whole.finishReason, "length");
  });

  test(`${name}: an error has its words`, async () => {
    await assert.rejects(generateText({ ...common, prompt: "apple ".repeat(40000) }), /maximum context length/);
  });
}

test("responses: reasoning and its way back", async () => {
  const request = { model: models.responses, temperature: 0, maxOutputTokens: 400, maxRetries: 0, prompt: question, tools: { weather }, toolChoice: "required", stopWhen: stepCountIs(2) };
  for (const store of [true, false]) {
    const result = streamText({ ...request, providerOptions: { openai: { reasoningEffort: "low", reasoningSummary: "auto", store, forceReasoning: true } } });
    for await (const part of result.fullStream) assert.notEqual(part.type, "error", String(part.error));
    assert.equal((await result.steps).length, 2);
  }
});

test("compatible: reasoning is told apart", async () => {
  const result = await generateText({ model: models.compatible, temperature: 0, maxOutputTokens: 400, prompt: question, providerOptions: { lapidary: { reasoningEffort: "low" } } });
  assert.ok(!result.text.includes("<|channel>"));
});
