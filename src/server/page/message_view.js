// Messages as elements. A view never changes a conversation: what the user asks for goes out through `actions`.
import {sent_attachment} from "./attachments.js";
import {siblings} from "./conversation.js";
import {copy_button, count, el, grow_textarea, icon_button, seconds} from "./dom.js";
import {icon} from "./icons.js";
import {Markdown, show_markdown} from "./markdown.js";
import {ToolCalls} from "./tool_view.js";

// ‹ 2 / 3 › where a message has been asked or answered more than once.
function versions(conversation, message, actions) {
  const all = siblings(conversation, message);
  if (all.length < 2) return null;
  const at = all.indexOf(message);
  const step = (name, label, to) => icon_button(name, label, () => actions.show_version(all[to]), {disabled: to < 0 || to >= all.length});
  return el("span", {class: "versions"}, step("left", "Earlier version", at - 1),
    el("span", {"aria-label": `Version ${at + 1} of ${all.length}`}, `${at + 1} / ${all.length}`), step("right", "Later version", at + 1));
}

// A user's message, with editing in place.
export class UserView {
  constructor(conversation, message, actions) {
    Object.assign(this, {conversation, message, actions});
    this.element = el("article", {class: "message user", "aria-label": "You", "data-id": message.id});
    this.show();
  }

  show() {
    const {message, actions} = this;
    const sent = message.attachments.map((attachment) => {
      const slot = el("div", {class: "sent-slot"});
      actions.url_of(attachment).then((url) => slot.replaceChildren(sent_attachment(attachment, url, actions.open_picture)));
      return slot;
    });
    this.element.replaceChildren(
      sent.length > 0 ? el("div", {class: "sent-row"}, ...sent) : "",
      message.text !== "" ? el("div", {class: "bubble"}, message.text) : "",
      el("footer", {class: "actions"}, versions(this.conversation, message, actions),
        icon_button("edit", "Edit and send again", () => this.edit()), copy_button("Copy message", () => message.text)));
  }

  edit() {
    if (this.element.classList.contains("editing")) return;
    const {message, actions} = this;
    let kept = [...message.attachments];
    const area = el("textarea", {class: "edit", rows: 1, "aria-label": "Edit the message", value: message.text});
    const cancel = () => {
      this.element.classList.remove("editing");
      this.show();
      this.element.querySelector("footer button:not(:disabled)")?.focus();
    };
    const send = () => (area.value.trim() !== "" || kept.length > 0) && actions.resend(message, area.value.trim(), kept);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    });
    area.addEventListener("input", () => grow_textarea(area));
    const chips = el("div", {class: "edit-chips"}, ...kept.map((attachment) => {
      const chip = el("span", {class: "chip"}, attachment.name, icon_button("remove", `Leave out ${attachment.name}`, () => {
        kept = kept.filter((other) => other !== attachment);
        chip.remove();
        area.focus();
      }));
      return chip;
    }));
    this.element.classList.add("editing");
    this.element.replaceChildren(el("div", {class: "edit-card"}, chips, area, el("div", {class: "edit-actions"},
      el("button", {type: "button", class: "quiet", onclick: cancel}, "Cancel"),
      el("button", {type: "button", class: "primary", onclick: send}, "Send"))));
    grow_textarea(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

// A reply, finished or arriving.
export class ReplyView {
  // results: call id -> tool message, of the calls that have one already.
  constructor(conversation, message, actions, {live = false, results = new Map(), context = null} = {}) {
    Object.assign(this, {conversation, message, actions, results, context});
    this.answer = el("div", {class: "answer prose"});
    this.thought = el("div", {class: "thought prose"});
    this.thought_label = el("span");
    this.fold = el("details", {class: "thinking"}, el("summary", {}, icon("think"), this.thought_label), this.thought);
    this.fold.hidden = true;
    this.calls = new ToolCalls(actions);
    this.waiting = el("div", {class: "waiting"}, el("span", {class: "pulse", "aria-hidden": "true"}), el("span", {class: "waiting-text"}));
    this.notice = el("div", {class: "notice-slot"});
    this.footer = el("footer", {class: "actions"});
    this.element = el("article", {class: "message reply", "aria-label": "Answer", "data-id": message.id},
      this.fold, this.waiting, this.answer, this.calls.element, this.notice, this.footer);
    if (live) this.begin();
    else this.show();
  }

  // Everything at once, from the message.
  show() {
    const {message} = this;
    this.live = false;
    this.element.classList.remove("live");
    this.element.setAttribute("aria-busy", "false");
    this.waiting.hidden = true;
    if (this.markdown) this.markdown.finish();
    else if (message.text !== "") show_markdown(this.answer, message.text);
    if (this.thought_markdown) this.thought_markdown.finish();
    else if (message.thinking !== "") show_markdown(this.thought, message.thinking);
    this.show_fold();
    this.calls.show(message, this.results, false);
    this.show_notice();
    this.show_footer();
  }

  // A reply that arrives piece by piece. Also one that had begun while another conversation was shown.
  begin() {
    this.live = true;
    this.element.classList.add("live");
    this.element.setAttribute("aria-busy", "true");
    this.markdown = new Markdown(this.answer);
    this.thought_markdown = new Markdown(this.thought);
    this.grow({text: this.message.text, thinking: this.message.thinking, calls: this.message.calls.length > 0});
  }

  grow({text, thinking, calls}) {
    if (thinking) this.thought_markdown.append(thinking);
    if (text) this.markdown.append(text);
    if (calls) this.calls.show(this.message, this.results, true);
    this.show_fold();
    const nothing = this.message.text === "" && this.message.calls.length === 0;
    this.waiting.hidden = !nothing || this.message.thinking !== "";
  }

  progress(text) {
    this.waiting.querySelector(".waiting-text").textContent = text;
  }

  show_fold() {
    const {message} = this;
    this.fold.hidden = message.thinking === "";
    if (this.fold.hidden) return;
    const thinking_now = this.live && message.thinking_ms === null;
    this.fold.classList.toggle("now", thinking_now);
    const tokens = message.usage?.completion_tokens_details?.reasoning_tokens;
    const parts = [];
    if (thinking_now) parts.push("Thinking…");
    else parts.push(message.thinking_ms === null ? "Thoughts" : `Thought for ${seconds(message.thinking_ms)}`);
    if (tokens) parts.push(count(tokens, "token"));
    const label = parts.join(" · ");
    if (this.thought_label.textContent !== label) this.thought_label.textContent = label;
  }

  show_notice() {
    const {message, actions} = this;
    const notices = [];
    if (message.error) {
      notices.push(el("div", {class: "error", role: "alert"}, el("p", {}, message.error.message),
        el("div", {class: "error-row"},
          el("button", {type: "button", class: "primary", onclick: () => actions.retry(message)}, icon("again"), "Try again"),
          message.error.code ? el("code", {}, message.error.code) : null)));
    } else if (message.stopped) {
      notices.push(el("p", {class: "notice"}, "Stopped."));
    } else if (message.finish === null) {
      notices.push(el("p", {class: "notice"}, "The page was closed before the answer was complete."));
    } else if (message.finish === "length") {
      notices.push(el("p", {class: "notice"}, "The answer was cut off: its length limit or the context is used up."));
    } else if (message.text === "" && message.calls.length === 0) {
      notices.push(el("p", {class: "notice"}, message.thinking === "" ? "An empty answer." : "The model thought, and said nothing."));
    }
    this.notice.replaceChildren(...notices);
  }

  show_footer() {
    const {message, actions} = this;
    this.footer.replaceChildren(...[versions(this.conversation, message, actions),
      message.text !== "" ? copy_button("Copy answer", () => message.text) : null,
      message.error ? null : icon_button("again", "Answer again", () => actions.regenerate(message)),
      speed_line(message, this.context)].filter(Boolean));
  }
}

// "42 tokens · 38.1 tokens/s · first after 0.21 s · 120 cached · drafts 24 of 30"
export function speed_line(message, context) {
  const {usage, timings} = message;
  const parts = [];
  const tokens = usage?.completion_tokens ?? timings?.predicted_n;
  if (tokens) parts.push([count(tokens, "token"), "Length of the answer, thoughts included"]);
  const streaming_s = (message.total_ms - message.first_ms) / 1000;
  const speed = timings?.predicted_per_second || (tokens > 1 && streaming_s > 0 ? (tokens - 1) / streaming_s : 0);
  if (speed > 0) parts.push([`${speed < 100 ? speed.toFixed(1) : Math.round(speed)} tokens/s`, "Speed of writing"]);
  if (message.first_ms !== null) parts.push([`first after ${seconds(message.first_ms)}`, "From sending to the first token"]);
  const cached = usage?.prompt_tokens_details?.cached_tokens ?? timings?.cache_n;
  if (cached) parts.push([`${cached.toLocaleString("en")} cached`, "Tokens of the prompt that were still known"]);
  const details = usage?.completion_tokens_details;
  const accepted = timings?.draft_n_accepted ?? details?.accepted_prediction_tokens;
  const drafted = timings?.draft_n ?? (accepted ?? 0) + (details?.rejected_prediction_tokens ?? 0);
  if (drafted) parts.push([`drafts ${accepted.toLocaleString("en")} of ${drafted.toLocaleString("en")}`, "Guessed tokens that were right"]);
  if (usage && context) {
    const used = usage.prompt_tokens + usage.completion_tokens;
    parts.push([`context ${Math.max(1, Math.round((100 * used) / context))} %`, `${used.toLocaleString("en")} of ${context.toLocaleString("en")} tokens`]);
  }
  if (parts.length === 0) return null;
  return el("p", {class: "speed"}, ...parts.flatMap(([text, title]) => [el("span", {title}, text), " "]));
}
