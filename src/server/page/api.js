// Talking to the server: the list of models and one streamed reply. Errors keep what the server said.
import {SseParser} from "./sse.js";

export class ApiError extends Error {
  // status 0: no answer at all.
  constructor(message, {status = 0, code = null, retry_after_ms = null} = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retry_after_ms = retry_after_ms;
  }
}

const kKeyName = "lapidary.key";

export function api_key() {
  return sessionStorage.getItem(kKeyName) ?? localStorage.getItem(kKeyName) ?? "";
}

// Kept until the tab closes, or in this browser when the user says so.
export function set_api_key(key, remember) {
  sessionStorage.removeItem(kKeyName);
  localStorage.removeItem(kKeyName);
  if (key !== "") (remember ? localStorage : sessionStorage).setItem(kKeyName, key);
}

async function request(path, options = {}) {
  const headers = {...options.headers};
  if (api_key() !== "") headers.Authorization = `Bearer ${api_key()}`;
  let response;
  try {
    response = await fetch(path, {...options, headers, cache: "no-store"});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  throw await error_of(response);
}

async function error_of(response) {
  const text = await response.text().catch(() => "");
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    error = {message: text.slice(0, 500)};
  }
  if (typeof error === "string") error = {message: error};
  const retry_after = parseFloat(response.headers.get("retry-after"));
  return new ApiError(error.message || `The server answered with status ${response.status}.`, {
    status: response.status,
    code: typeof error.code === "string" ? error.code : null,
    retry_after_ms: Number.isFinite(retry_after) ? retry_after * 1000 : null,
  });
}

// The models of the server, aliases left out: {id, inputs: Set, thinking, tools, context}.
export async function fetch_models() {
  const response = await request("/v1/models");
  const {data = []} = await response.json();
  return data.filter((model) => !model.root || model.root === model.id).map((model) => {
    const capabilities = new Set(model.capabilities ?? ["completion"]);
    return {
      id: model.id,
      inputs: new Set(model.architecture?.input_modalities ?? ["text"]),
      thinking: capabilities.has("thinking"),
      tools: capabilities.has("tools"),
      context: model.context_length ?? model.max_model_len ?? null,
    };
  });
}

// Sends the request and calls on_chunk with each chunk, in order. Returns when the stream has ended properly.
export async function stream_chat(body, signal, on_chunk) {
  const response = await request("/v1/chat/completions", {
    method: "POST",
    headers: {"Content-Type": "application/json", Accept: "text/event-stream"},
    body: JSON.stringify({...body, stream: true, stream_options: {include_usage: true}}),
    signal,
  });
  let done = false;
  const parser = new SseParser((data) => {
    if (data === "[DONE]") {
      done = true;
      return;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message ?? String(chunk.error), {status: 200, code: chunk.error.code ?? null});
    on_chunk(chunk);
  });
  const reader = response.body.getReader();
  try {
    for (;;) {
      const {value, done: ended} = await reader.read();
      if (ended) break;
      parser.push(value);
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    if (error instanceof SyntaxError) throw new ApiError("The server sent something that is not JSON.", {status: 200});
    throw new ApiError(`The connection broke off (${error.message}).`);
  } finally {
    reader.cancel().catch(() => {});
  }
  if (!done) throw new ApiError("The connection ended before the answer did.");
}
