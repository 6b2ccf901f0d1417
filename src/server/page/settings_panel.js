// The settings as a drawer: every change holds at once and is kept.
import {api_key, set_api_key} from "./api.js";
import {el, icon_button} from "./dom.js";
import {kDefaults, kEfforts, kImageBudgets, kNumbers, number_problem, parse_schema, parse_tools, save_settings} from "./settings.js";

const kExampleTools = [
  {type: "function", function: {name: "get_weather", description: "Get the current weather",
    parameters: {type: "object", properties: {city: {type: "string", description: "The city"}}, required: ["city"]}}},
];
const kExampleSchema = {type: "object", properties: {answer: {type: "string"}}, required: ["answer"]};

export function apply_theme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export class SettingsPanel {
  // on_change() after every change; the model decides what is offered.
  constructor(settings, on_change) {
    this.settings = settings;
    this.on_change = on_change;
    this.dialog = document.getElementById("settings");
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  open(model) {
    this.model = model;
    this.dialog.replaceChildren(this.content());
    this.dialog.showModal();
  }

  set(name, value) {
    this.settings[name] = value;
    save_settings(this.settings);
    this.on_change(name);
  }

  content() {
    return el("div", {class: "panel"},
      el("header", {}, el("h2", {id: "settings-title"}, "Settings"), icon_button("remove", "Close", () => this.dialog.close())),
      el("div", {class: "panel-body"},
        this.section("Instructions", this.text("system", "System prompt", "What the model should know or be", 4)),
        this.model?.thinking ? this.section("Thinking", this.toggle("think", "Think before answering"),
          this.choice("effort", "Effort", kEfforts)) : null,
        this.section("Sampling", el("div", {class: "numbers"}, ...Object.keys(kNumbers).map((name) => this.number(name)))),
        this.model?.inputs.has("image") ? this.section("Pictures",
          this.choice("image_tokens", "Tokens for one picture", kImageBudgets)) : null,
        this.section("Structured output", this.json("schema", "JSON schema of the answer", parse_schema, kExampleSchema)),
        this.section("Tools", this.json("tools", "Functions the model may call, as JSON", parse_tools, kExampleTools)),
        this.section("Appearance", this.choice("theme", "Theme", {system: "As the system", light: "Light", dark: "Dark"})),
        api_key() !== "" ? this.section("Server", this.forget_key()) : null,
        el("button", {type: "button", class: "quiet", onclick: () => this.reset()}, "Back to the defaults")));
  }

  section(title, ...fields) {
    return el("section", {}, el("h3", {}, title), ...fields);
  }

  text(name, label, placeholder, rows) {
    const area = el("textarea", {id: `set-${name}`, rows, placeholder, value: this.settings[name], spellcheck: "true",
      oninput: () => this.set(name, area.value)});
    return el("div", {class: "field"}, el("label", {for: `set-${name}`}, label), area);
  }

  toggle(name, label) {
    const box = el("input", {type: "checkbox", id: `set-${name}`, class: "switch", role: "switch", onchange: () => this.set(name, box.checked)});
    box.checked = this.settings[name];
    return el("div", {class: "field row"}, el("label", {for: `set-${name}`}, label), box);
  }

  choice(name, label, options) {
    const select = el("select", {id: `set-${name}`, onchange: () => this.set(name, select.value)},
      ...Object.entries(options).sort((a, b) => (a[0] === "" ? -1 : b[0] === "" ? 1 : 0)).map(([value, text]) => el("option", {value}, text)));
    select.value = this.settings[name];
    return el("div", {class: "field row"}, el("label", {for: `set-${name}`}, label), select);
  }

  number(name) {
    const {label, hint} = kNumbers[name];
    const problem = el("small", {class: "problem", id: `problem-${name}`});
    const input = el("input", {id: `set-${name}`, inputmode: "decimal", autocomplete: "off", placeholder: "default", title: hint,
      "aria-describedby": `problem-${name}`, value: this.settings[name], oninput: () => {
        check();
        this.set(name, input.value);
      }});
    const check = () => {
      const found = number_problem(name, input.value);
      problem.textContent = found ?? "";
      input.setAttribute("aria-invalid", String(found !== null));
    };
    check();
    return el("div", {class: "field"}, el("label", {for: `set-${name}`}, label), input, problem);
  }

  json(name, label, parse, example) {
    const problem = el("small", {class: "problem", id: `problem-${name}`});
    const area = el("textarea", {id: `set-${name}`, rows: 5, class: "mono", spellcheck: "false", autocapitalize: "off", placeholder: "none",
      "aria-describedby": `problem-${name}`, value: this.settings[name], oninput: () => {
        check();
        this.set(name, area.value);
      }});
    const check = () => {
      problem.textContent = "";
      try {
        if (area.value.trim() !== "") parse(area.value);
      } catch (error) {
        problem.textContent = error.message;
      }
      area.setAttribute("aria-invalid", String(problem.textContent !== ""));
    };
    const fill = (value) => {
      area.value = value;
      check();
      this.set(name, value);
    };
    check();
    return el("div", {class: "field"}, el("label", {for: `set-${name}`}, label), area, problem,
      el("div", {class: "field-actions"},
        el("button", {type: "button", class: "quiet", onclick: () => fill(JSON.stringify(example, null, 2))}, "Insert an example"),
        el("button", {type: "button", class: "quiet", onclick: () => fill("")}, "Clear")));
  }

  forget_key() {
    const button = el("button", {type: "button", class: "quiet", onclick: () => {
      set_api_key("", false);
      button.replaceWith(el("p", {}, "Forgotten."));
    }}, "Forget the API key");
    return button;
  }

  reset() {
    const kept = {sidebar: this.settings.sidebar, theme: this.settings.theme};
    Object.assign(this.settings, kDefaults, kept);
    save_settings(this.settings);
    this.on_change("all");
    this.dialog.replaceChildren(this.content());
  }
}
