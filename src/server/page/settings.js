// What the user set, kept in this browser, and what of it goes into a request. Numbers stay the text that was typed, so
// that an empty field means "as the model has it".
const kName = "lapidary.settings";

export const kDefaults = {
  system: "", think: false, effort: "", max_tokens: "", temperature: "", top_p: "", top_k: "", min_p: "", seed: "",
  image_tokens: "", schema: "", tools: "", theme: "system", sidebar: true,
};

// name -> {label, hint, least, most, whole}
export const kNumbers = {
  temperature: {label: "Temperature", hint: "0 always takes the likeliest token", least: 0, most: 2},
  top_p: {label: "Top-p", hint: "Likeliest tokens up to this sum", least: 0.001, most: 1},
  top_k: {label: "Top-k", hint: "Likeliest tokens; 0 for all", least: 0, most: 1000000, whole: true},
  min_p: {label: "Min-p", hint: "At least this share of the likeliest", least: 0, most: 1},
  seed: {label: "Seed", hint: "The same seed, the same answer", least: 0, most: Number.MAX_SAFE_INTEGER, whole: true},
  max_tokens: {label: "Longest answer", hint: "In tokens, thoughts included", least: 1, most: 10000000, whole: true},
};

export const kEfforts = {"": "No limit", minimal: "Minimal", low: "Low", medium: "Medium", high: "High"};
export const kImageBudgets = {"": "Model's own", auto: "Automatic", 70: "70", 140: "140", 280: "280", 560: "560", 1120: "1120"};

export function load_settings() {
  const settings = {...kDefaults};
  try {
    const saved = JSON.parse(localStorage.getItem(kName)) ?? {};
    for (const name of Object.keys(kDefaults)) if (typeof saved[name] === typeof kDefaults[name]) settings[name] = saved[name];
  } catch {
    // Unreadable: the defaults.
  }
  return settings;
}

export function save_settings(settings) {
  try {
    localStorage.setItem(kName, JSON.stringify(settings));
  } catch {
    // No storage: they hold until the tab closes.
  }
}

// The problem with a number's text, or null.
export function number_problem(name, text) {
  if (text.trim() === "") return null;
  const {least, most, whole} = kNumbers[name];
  const value = Number(text);
  if (!Number.isFinite(value)) return "Not a number";
  if (whole && !Number.isInteger(value)) return "A whole number";
  if (value < least || value > most) return most >= 1e6 ? `At least ${least}` : `From ${least === 0.001 ? "above 0" : least} to ${most}`;
  return null;
}

// A JSON Schema's text -> the schema; throws an Error that says what is wrong.
export function parse_schema(text) {
  const schema = parse_json(text);
  if (schema === null || typeof schema !== "object" || Array.isArray(schema)) throw new Error("A schema is a JSON object");
  return schema;
}

// Tools as the API has them, or bare functions, one or several -> the API's list.
export function parse_tools(text) {
  const value = parse_json(text);
  return (Array.isArray(value) ? value : [value]).map((tool, i) => {
    const whole = tool?.type === "function" && tool.function ? tool : {type: "function", function: tool};
    if (typeof whole.function?.name !== "string") throw new Error(`Tool ${i + 1} has no name`);
    return whole;
  });
}

function parse_json(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(error.message.replace(/^JSON\.parse: /, ""));
  }
}

// The request's fields besides model and messages. Throws an Error that names the setting that cannot be sent.
export function request_fields(settings, model) {
  const fields = {};
  for (const name of Object.keys(kNumbers)) {
    const text = settings[name].trim();
    if (text === "") continue;
    const problem = number_problem(name, text);
    if (problem) throw new Error(`${kNumbers[name].label}: ${problem}.`);
    fields[name] = Number(text);
  }
  if (model?.thinking) {
    fields.chat_template_kwargs = {enable_thinking: settings.think};
    if (settings.think && settings.effort !== "") fields.reasoning_effort = settings.effort;
  }
  if (settings.image_tokens !== "" && model?.inputs.has("image")) {
    fields.image_tokens = settings.image_tokens === "auto" ? "auto" : Number(settings.image_tokens);
  }
  const parsed = (name, parse) => {
    try {
      return parse(settings[name]);
    } catch (error) {
      throw new Error(`${name === "schema" ? "JSON schema" : "Tools"}: ${error.message}.`);
    }
  };
  if (settings.schema.trim() !== "") {
    fields.response_format = {type: "json_schema", json_schema: {name: "answer", strict: true, schema: parsed("schema", parse_schema)}};
  }
  if (settings.tools.trim() !== "") {
    const tools = parsed("tools", parse_tools);
    if (tools.length > 0) fields.tools = tools;
  }
  return fields;
}
