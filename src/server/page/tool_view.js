// A reply's tool calls: name, arguments, and the box for what the tool said. This page runs nothing by itself; whoever
// reads it is the tool.
import {copy_button, el, grow_textarea} from "./dom.js";
import {icon} from "./icons.js";

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;  // cut off, or still arriving
  }
}

export class ToolCalls {
  constructor(actions) {
    this.actions = actions;
    this.element = el("div", {class: "calls"});
  }

  // results: call id -> tool message. arriving: no results are asked for yet.
  show(message, results, arriving) {
    const calls = message.calls.filter(Boolean);
    if (arriving && this.element.children.length === calls.length) {
      // Only the last one grows.
      const last = calls[calls.length - 1];
      if (last) this.element.lastChild.querySelector("code").textContent = pretty(last.arguments);
      return;
    }
    const asks = !arriving && message.finish === "tool_calls";  // a call that was cut off cannot be answered
    const open = calls.filter((call) => !results.has(call.id));
    this.element.replaceChildren(...calls.map((call) => this.card(call, results.get(call.id), asks)));
    if (asks && open.length > 0) this.element.append(this.send_row(message));
  }

  card(call, result, asks) {
    const code = el("code", {}, pretty(call.arguments));
    const card = el("section", {class: "call", "aria-label": `Tool call ${call.name}`},
      el("header", {}, icon("tool"), el("span", {class: "call-name"}, call.name), copy_button("Copy arguments", () => code.textContent)),
      el("pre", {tabindex: "0"}, code));
    if (result) {
      card.append(el("div", {class: "call-result"}, el("span", {class: "label"}, "Result"), el("pre", {tabindex: "0"}, el("code", {}, pretty(result.text)))));
    } else if (asks) {
      const area = el("textarea", {rows: 1, id: `result-${call.id}`, "data-call": call.id, class: "mono", placeholder: "What the tool answers: text or JSON"});
      area.addEventListener("input", () => grow_textarea(area));
      area.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
          event.preventDefault();
          this.element.querySelector("button.primary").click();
        }
      });
      card.append(el("div", {class: "call-result"}, el("label", {class: "label", for: area.id}, "Result"), area));
    }
    return card;
  }

  send_row(message) {
    const send = () => {
      const areas = [...this.element.querySelectorAll("textarea[data-call]")];
      this.actions.send_results(message, areas.map((area) => ({call: area.dataset.call, text: area.value})));
    };
    return el("div", {class: "call-send"}, el("button", {type: "button", class: "primary", onclick: send}, "Send the result"));
  }
}
