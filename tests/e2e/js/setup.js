// Where the server is, and what the tests ask it about.
import fs from "node:fs";
import path from "node:path";

export const baseURL = process.env.LAPIDARY_URL + "/v1";
export const examples = process.env.LAPIDARY_EXAMPLES;
export const model = (await (await fetch(baseURL + "/models")).json()).data[0].id;
export const picture = fs.readFileSync(path.join(examples, "picture.jpg"));
export const recording = path.join(examples, "recording.wav");

export const weatherParameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const question = "What is the weather in Paris?";
