// Conversations as JSON files and back. What comes in is a stranger's file: only known fields of the right kind are
// taken over, and no more than the page could have made itself.
import {attachment_ids, data_url, new_id, safe_type} from "./conversation.js";

const kFormat = "lapidary-conversation";
const kMessagesMax = 10000;
const kKinds = ["image", "audio", "video", "text"];

export async function export_conversation(conversation, blob_of) {
  const blobs = {};
  for (const id of attachment_ids(conversation)) {
    const blob = await blob_of(id);
    if (blob) blobs[id] = await data_url(blob);
  }
  return JSON.stringify({format: kFormat, version: 1, conversation, blobs}, null, 1);
}

// A base64 data URL as a Blob, without asking the network for it.
function blob_of_url(url, type) {
  const match = /^data:[\w.+/-]*(?:;[\w=.+-]+)*;base64,/.exec(url);
  if (!match) throw new Error("an attachment is not a base64 data URL");
  const binary = atob(url.slice(match[0].length));
  return new Blob([Uint8Array.from(binary, (c) => c.charCodeAt(0))], {type});
}

const text_of = (value) => (typeof value === "string" ? value : "");
const number_of = (value) => (Number.isFinite(value) ? value : null);
const object_of = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : null);

// Reads a file's text; returns {conversation, blobs: [[id, Blob]]} under ids of their own, or throws an Error that says
// what is wrong with it.
export function import_conversation(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("not a JSON file");
  }
  if (file?.format !== kFormat || !object_of(file.conversation?.messages)) throw new Error("not a conversation of this page");
  const source = Object.values(file.conversation.messages).filter(object_of);
  if (source.length > kMessagesMax) throw new Error(`more than ${kMessagesMax} messages`);
  const ids = new Map(source.map((message) => [message.id, new_id()]));
  const blobs = [];
  const messages = {};
  for (const message of source) {
    const id = ids.get(message.id);
    const common = {id, parent: ids.get(message.parent) ?? null, created: number_of(message.created) ?? Date.now()};
    if (message.role === "user") {
      messages[id] = {...common, role: "user", text: text_of(message.text), attachments: import_attachments(message, file.blobs, blobs)};
    } else if (message.role === "tool") {
      messages[id] = {...common, role: "tool", text: text_of(message.text), call: text_of(message.call)};
    } else if (message.role === "assistant") {
      messages[id] = {...common, ...import_reply(message)};
    }
  }
  check_ancestors(messages);
  const now = Date.now();
  const conversation = {id: new_id(), title: text_of(file.conversation.title).slice(0, 200), named: true,
    created: number_of(file.conversation.created) ?? now, updated: now, leaf: ids.get(file.conversation.leaf) ?? null, messages};
  if (!messages[conversation.leaf]) conversation.leaf = Object.keys(messages).at(-1) ?? null;
  return {conversation, blobs};
}

// A message that is its own ancestor would never end.
function check_ancestors(messages) {
  const rooted = new Set();  // known to lead to a beginning
  for (const message of Object.values(messages)) {
    const path = new Set();
    for (let id = message.id; id !== null && messages[id] && !rooted.has(id); id = messages[id].parent) {
      if (path.has(id)) throw new Error("its messages go round in a circle");
      path.add(id);
    }
    path.forEach((id) => rooted.add(id));
  }
}

function import_attachments(message, source_blobs, blobs) {
  const attachments = [];
  for (const one of Array.isArray(message.attachments) ? message.attachments : []) {
    if (!kKinds.includes(one?.kind)) continue;
    const type = safe_type(one.kind, text_of(one.type));
    const attachment = {id: new_id(), kind: one.kind, name: text_of(one.name).slice(0, 200), type, size: 0};
    const url = object_of(source_blobs)?.[one.id];
    if (typeof url === "string") {
      const blob = blob_of_url(url, type);
      attachment.size = blob.size;
      blobs.push([attachment.id, blob]);
    }
    attachments.push(attachment);
  }
  return attachments;
}

function import_reply(message) {
  const calls = Array.isArray(message.calls) ? message.calls.filter(object_of) : [];
  return {
    role: "assistant",
    text: text_of(message.text),
    thinking: text_of(message.thinking),
    thinking_ms: number_of(message.thinking_ms),
    calls: calls.map((call) => ({id: text_of(call.id), name: text_of(call.name), arguments: text_of(call.arguments)})),
    finish: text_of(message.finish) || null,
    usage: object_of(message.usage),
    timings: object_of(message.timings),
    first_ms: number_of(message.first_ms),
    total_ms: number_of(message.total_ms),
    error: object_of(message.error) ? {message: text_of(message.error.message), code: text_of(message.error.code) || null} : null,
    stopped: message.stopped === true,
    model: text_of(message.model),
  };
}
