// The list of conversations: open, rename, delete, export, import.
import {title_of} from "./conversation.js";
import {el, icon_button} from "./dom.js";
import {icon} from "./icons.js";

const kDay = 86400000;

function age_of(time) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (time >= midnight) return "Today";
  if (time >= midnight - kDay) return "Yesterday";
  if (time >= midnight - 7 * kDay) return "This week";
  if (time >= midnight - 30 * kDay) return "This month";
  return "Earlier";
}

export class Sidebar {
  // actions: open(id), create(), rename(id, title), remove(id), export(id), import(file).
  constructor(actions) {
    this.actions = actions;
    this.element = document.getElementById("sidebar");
    this.list = el("nav", {class: "conversations", "aria-label": "Conversations"});
    const file = el("input", {type: "file", accept: ".json,application/json", hidden: true, id: "import", onchange: () => {
      if (file.files[0]) actions.import(file.files[0]);
      file.value = "";
    }});
    this.element.append(
      el("header", {class: "brand"}, icon("gem"), el("span", {}, "Lapidary")),
      el("button", {type: "button", class: "new", onclick: actions.create}, icon("compose"), "New conversation"),
      this.list,
      el("footer", {}, el("button", {type: "button", class: "quiet", onclick: () => file.click()}, icon("import"), "Import"), file));
  }

  show(conversations, current, live) {
    const groups = new Map();
    for (const conversation of conversations) {
      const age = age_of(conversation.updated);
      if (!groups.has(age)) groups.set(age, []);
      groups.get(age).push(this.row(conversation, conversation.id === current, live.has(conversation.id)));
    }
    this.list.replaceChildren(...[...groups].map(([age, rows]) => el("section", {}, el("h2", {}, age), el("ul", {}, ...rows))));
  }

  row(conversation, current, live) {
    const title = title_of(conversation);
    const open = el("button", {type: "button", class: "title", title, "aria-current": current ? "page" : null,
      onclick: () => this.actions.open(conversation.id)}, title, live ? el("span", {class: "pulse", title: "Answering"}) : null);
    const row = el("li", {class: current ? "current" : "", "data-id": conversation.id}, open, el("span", {class: "row-actions"},
      icon_button("edit", `Rename ${title}`, () => this.rename(row, conversation)),
      icon_button("export", `Export ${title}`, () => this.actions.export(conversation.id)),
      icon_button("trash", `Delete ${title}`, () => this.confirm_removal(row, conversation))));
    return row;
  }

  rename(row, conversation) {
    const input = el("input", {class: "rename", "aria-label": "New title", maxlength: 200, value: title_of(conversation)});
    let over = false;
    const end = (keep) => {
      if (over) return;
      over = true;
      this.actions.rename(conversation.id, keep ? input.value.trim() : null);
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") {
        event.stopPropagation();
        end(false);
      }
    });
    input.addEventListener("blur", () => end(true));
    row.replaceChildren(input);
    input.select();
  }

  // Asked once, in place: a deleted conversation is gone.
  confirm_removal(row, conversation) {
    const back = () => row.replaceWith(this.row(conversation, row.classList.contains("current"), false));
    const yes = el("button", {type: "button", class: "danger", onclick: () => this.actions.remove(conversation.id)}, "Delete");
    row.replaceChildren(el("span", {class: "confirm", role: "group", "aria-label": `Delete ${title_of(conversation)}?`}, yes,
      el("button", {type: "button", class: "quiet", onclick: back}, "Keep")));
    row.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), back()));
    yes.focus();
  }
}
