// A conversation as data: a tree of messages, because an edited question or a second answer does not replace the first.
// `leaf` names the end of the branch that is shown.
//
// user       {id, parent, role, text, attachments: [{id, kind, name, type, size}]}
// assistant  {id, parent, role, text, thinking, thinking_ms, calls: [{id, name, arguments}], finish, usage, timings,
//             first_ms, total_ms, error, stopped, model}
// tool       {id, parent, role, call, text}
// The bytes of attachments lie beside it (store.js), by their id.

export function new_id() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function new_conversation() {
  const now = Date.now();
  return {id: new_id(), title: "", named: false, created: now, updated: now, leaf: null, messages: {}};
}

// Adds a message below `parent` and shows it.
export function add_message(conversation, parent, message) {
  const added = {...message, id: new_id(), parent, created: Date.now()};
  conversation.messages[added.id] = added;
  conversation.leaf = added.id;
  conversation.updated = added.created;
  return added;
}

// The shown branch, first message first.
export function branch(conversation, leaf = conversation.leaf) {
  const messages = [];
  for (let id = leaf; id !== null && conversation.messages[id]; id = conversation.messages[id].parent) {
    messages.push(conversation.messages[id]);
  }
  return messages.reverse();
}

export function children(conversation, id) {
  return Object.values(conversation.messages).filter((message) => message.parent === id).sort((a, b) => a.created - b.created);
}

// The messages that stand where this one stands, in the order they were made.
export function siblings(conversation, message) {
  return children(conversation, message.parent).filter((other) => other.role === message.role);
}

// Shows the branch through `id`, down to its newest end.
export function show_branch(conversation, id) {
  for (let below; (below = children(conversation, id)).length > 0;) id = below[below.length - 1].id;
  conversation.leaf = id;
}

export function title_of(conversation) {
  if (conversation.title) return conversation.title;
  const first = branch(conversation).find((message) => message.role === "user");
  if (!first) return "New conversation";
  const text = first.text.replace(/\s+/g, " ").trim();
  if (text !== "") return text.length > 60 ? text.slice(0, 59) + "…" : text;
  return first.attachments[0]?.name ?? "New conversation";
}

export function attachment_ids(conversation) {
  return Object.values(conversation.messages).flatMap((message) => (message.attachments ?? []).map((one) => one.id));
}

// A type under which an attachment's bytes may lie behind a URL of this page: never one that a browser would run when the
// URL is opened by itself (HTML, SVG).
export function safe_type(kind, type) {
  const plain = /^[\w.+-]+\/[\w.+-]+/.exec(type)?.[0].toLowerCase() ?? "";
  return kind !== "text" && plain.startsWith(`${kind}/`) && !plain.includes("xml") ? plain : kind === "text" ? "text/plain" : "";
}

// ---- What the server is sent --------------------------------------------------------------------------------------

async function attachment_part(attachment, blob_of) {
  const blob = await blob_of(attachment.id);
  if (!blob) return {type: "text", text: `[${attachment.name} is not kept any more]`};
  if (attachment.kind === "text") return {type: "text", text: `${attachment.name}:\n\n${await blob.text()}\n\n`};
  const url = await data_url(blob, attachment.type);
  if (attachment.kind === "image") return {type: "image_url", image_url: {url}};
  if (attachment.kind === "video") return {type: "video_url", video_url: {url}};
  return {type: "input_audio", input_audio: {data: url.slice(url.indexOf(",") + 1), format: sound_format(attachment)}};
}

function sound_format(attachment) {
  const extension = /\.([a-z0-9]+)$/i.exec(attachment.name)?.[1]?.toLowerCase();
  return extension ?? attachment.type.replace(/^audio\/(x-)?/, "");
}

export function data_url(blob, type = blob.type) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(type === blob.type ? blob : blob.slice(0, blob.size, type));
  });
}

// The branch as the server's messages. blob_of(id) gives an attachment's bytes.
export async function request_messages(messages, system, blob_of) {
  const out = system.trim() === "" ? [] : [{role: "system", content: system}];
  const last_user = messages.map((message) => message.role).lastIndexOf("user");
  for (const [i, message] of messages.entries()) {
    if (message.role === "user") {
      const parts = [];
      for (const attachment of message.attachments) parts.push(await attachment_part(attachment, blob_of));
      if (message.text !== "" || parts.length === 0) parts.push({type: "text", text: message.text});
      out.push({role: "user", content: parts.length === 1 && parts[0].type === "text" ? parts[0].text : parts});
    } else if (message.role === "tool") {
      out.push({role: "tool", tool_call_id: message.call, content: message.text});
    } else {
      // Calls that nobody answered are left out: the model would wait for what never came.
      const calls = messages[i + 1]?.role === "tool" ? message.calls : [];
      if (message.text === "" && calls.length === 0) continue;
      const reply = {role: "assistant", content: message.text === "" ? null : message.text};
      if (calls.length > 0) {
        reply.tool_calls = calls.map((call) => ({
          id: call.id, type: "function", function: {name: call.name, arguments: call.arguments},
        }));
      }
      // A model reads its own thoughts again only inside a tool loop.
      if (message.thinking !== "" && i > last_user) reply.reasoning_content = message.thinking;
      out.push(reply);
    }
  }
  return out;
}

// ---- What the server sends ----------------------------------------------------------------------------------------

export function new_reply(model) {
  return {role: "assistant", text: "", thinking: "", thinking_ms: null, calls: [], finish: null, usage: null, timings: null,
    first_ms: null, total_ms: null, error: null, stopped: false, model};
}

// Adds one chunk of a stream to a reply; returns which parts grew: {text, thinking, calls}.
export function apply_chunk(reply, chunk) {
  const grown = {text: "", thinking: "", calls: false};
  if (chunk.usage) reply.usage = chunk.usage;
  if (chunk.timings) reply.timings = chunk.timings;
  const choice = chunk.choices?.[0];
  if (!choice) return grown;
  if (choice.finish_reason) reply.finish = choice.finish_reason;
  const delta = choice.delta ?? {};
  grown.thinking = delta.reasoning_content ?? delta.reasoning ?? "";
  grown.text = delta.content ?? "";
  reply.thinking += grown.thinking;
  reply.text += grown.text;
  for (const piece of delta.tool_calls ?? []) {
    const call = (reply.calls[piece.index ?? 0] ??= {id: "", name: "", arguments: ""});
    if (piece.id) call.id = piece.id;
    if (piece.function?.name) call.name = piece.function.name;
    call.arguments += piece.function?.arguments ?? "";
    grown.calls = true;
  }
  return grown;
}
