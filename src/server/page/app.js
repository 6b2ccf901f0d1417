// The page: which conversation is shown, which replies are on their way, and what every button does.
import {api_key, ApiError, fetch_models, set_api_key} from "./api.js";
import {Composer} from "./composer.js";
import {add_message, branch, children, new_conversation, new_reply, request_messages, show_branch, title_of} from "./conversation.js";
import {announce, el, icon_button} from "./dom.js";
import {Follow} from "./follow.js";
import {icon} from "./icons.js";
import {ReplyView, UserView} from "./message_view.js";
import {ReplyRun} from "./reply_run.js";
import {apply_theme, SettingsPanel} from "./settings_panel.js";
import {load_settings, request_fields, save_settings} from "./settings.js";
import {Sidebar} from "./sidebar.js";
import {Store} from "./store.js";
import {export_conversation, import_conversation} from "./transfer.js";
import {welcome} from "./welcome.js";

const kModelName = "lapidary.model";
const kAnnouncedCharsMax = 2000;

class App {
  async start() {
    this.settings = load_settings();
    this.store = await Store.open();
    this.conversations = await this.store.list();
    this.current = new_conversation();
    this.runs = new Map();  // conversation id -> ReplyRun
    this.urls = new Map();  // attachment id -> object URL
    this.models = [];
    this.model = null;
    this.thread = document.getElementById("thread");
    this.follow = new Follow(document.getElementById("scroller"), document.getElementById("jump"));
    document.getElementById("jump").append(icon("down"));
    this.panel = new SettingsPanel(this.settings, (name) => this.settings_changed(name));
    this.sidebar = new Sidebar({
      open: (id) => this.open(id), create: () => this.create(), rename: (id, title) => this.rename(id, title),
      remove: (id) => this.remove(id), export: (id) => this.export(id), import: (file) => this.import(file),
    });
    this.composer = new Composer(this.settings, {
      send: (text, items) => this.send(text, items), stop: () => this.stop(), edit_last: () => this.edit_last(),
      settings_changed: (name, value) => this.set(name, value), open_settings: () => this.panel.open(this.model),
      problem: (text) => this.toast(text),
    });
    this.view_actions = {
      show_version: (message) => this.show_version(message), resend: (...all) => this.resend(...all),
      regenerate: (message) => this.regenerate(message), retry: (message) => this.regenerate(message),
      send_results: (message, results) => this.send_results(message, results),
      url_of: (attachment) => this.url_of(attachment), open_picture: (url, name) => this.open_picture(url, name),
    };
    this.top_bar();
    this.listen();
    if (!this.store.lasting) this.toast("This browser keeps nothing for this page: conversations end with the tab.");
    this.open(location.hash.slice(1), false);
    await this.connect();
  }

  listen() {
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
        if (this.drawer_open()) this.show_sidebar(false);
        else this.stop();
      }
    });
    addEventListener("hashchange", () => location.hash.slice(1) !== this.current.id && this.open(location.hash.slice(1), false));
    addEventListener("pagehide", () => this.runs.forEach((run) => this.store.save(run.conversation)));
    document.getElementById("scrim").addEventListener("click", () => this.show_sidebar(false));
    matchMedia("(max-width: 860px)").addEventListener("change", () => this.show_sidebar(this.settings.sidebar, false));
  }

  // ---- The frame around it ------------------------------------------------------------------------------------------

  top_bar() {
    this.menu = icon_button("menu", "Conversations", () => this.show_sidebar(!this.sidebar_open()), {"aria-controls": "sidebar"});
    this.model_slot = el("div", {class: "model"});
    const dark = () => getComputedStyle(document.documentElement).colorScheme.trim() === "dark";
    const theme = icon_button("moon", "Dark or light", () => {
      this.set("theme", dark() ? "light" : "dark");
      show_theme();
    }, {id: "theme"});
    const show_theme = () => theme.replaceChildren(icon(dark() ? "sun" : "moon"));
    this.show_theme = show_theme;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show_theme);
    document.getElementById("bar").append(this.menu, this.model_slot, el("span", {class: "grow"}),
      icon_button("compose", "New conversation", () => this.create(), {id: "new"}), theme,
      icon_button("settings", "Settings", () => this.panel.open(this.model), {id: "open-settings"}));
    show_theme();
    this.show_sidebar(this.settings.sidebar && !this.narrow(), false);
  }

  narrow() {
    return matchMedia("(max-width: 860px)").matches;
  }

  sidebar_open() {
    return document.body.classList.contains("with-sidebar");
  }

  drawer_open() {
    return this.narrow() && this.sidebar_open();
  }

  // A column on wide windows, remembered; a drawer over the page on narrow ones.
  show_sidebar(open, remember = true) {
    if (this.narrow() && !remember) open = false;
    document.body.classList.toggle("with-sidebar", open);
    this.menu.setAttribute("aria-expanded", String(open));
    document.getElementById("sidebar").inert = !open;
    document.getElementById("main").inert = this.drawer_open();
    if (remember && !this.narrow()) {
      this.settings.sidebar = open;
      save_settings(this.settings);
    }
    if (this.drawer_open()) document.querySelector("#sidebar .new").focus();
    else if (remember) this.menu.focus();
  }

  toast(text) {
    const toast = el("div", {class: "toast", role: "alert"}, el("span", {}, text), icon_button("remove", "Dismiss", () => toast.remove()));
    document.getElementById("toasts").replaceChildren(toast);
    setTimeout(() => toast.remove(), 8000);
  }

  set(name, value) {
    this.settings[name] = value;
    save_settings(this.settings);
    this.settings_changed(name);
  }

  settings_changed() {
    apply_theme(this.settings.theme);
    this.show_theme();
    this.composer.show();
  }

  open_picture(url, name) {
    const dialog = document.getElementById("lightbox");
    dialog.replaceChildren(el("img", {src: url, alt: name}), icon_button("remove", "Close", () => dialog.close()));
    dialog.onclick = (event) => event.target === dialog && dialog.close();
    dialog.showModal();
  }

  // ---- The server ---------------------------------------------------------------------------------------------------

  // Asks for the models until there are some: a server that still loads says so.
  async connect() {
    for (let wait = 500;; wait = Math.min(5000, 1.5 * wait)) {
      try {
        this.models = await fetch_models();
        break;
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) await this.ask_key(error.message);
        else this.show_model_state(error.status === 503 ? "The model is loading…" : error.message);
        await new Promise((resolve) => setTimeout(resolve, error.status === 401 ? 0 : wait));
      }
    }
    const wanted = localStorage.getItem(kModelName);
    this.choose(this.models.find((model) => model.id === wanted) ?? this.models[0] ?? null);
    this.composer.focus();
  }

  show_model_state(text) {
    this.model_slot.replaceChildren(el("span", {class: "model-state", role: "status"}, text));
  }

  choose(model) {
    this.model = model;
    if (!model) return this.show_model_state("The server has no model.");
    if (this.models.length > 1) {
      const select = el("select", {"aria-label": "Model", onchange: () => {
        localStorage.setItem(kModelName, select.value);
        this.choose(this.models.find((one) => one.id === select.value));
      }}, ...this.models.map((one) => el("option", {value: one.id}, one.id)));
      select.value = model.id;
      this.model_slot.replaceChildren(select);
    } else {
      this.model_slot.replaceChildren(el("span", {class: "model-name", title: model.id}, model.id));
    }
    this.composer.set_model(model);
    if (this.current.leaf === null) this.show();
  }

  // Resolves when a key has been given.
  ask_key(problem) {
    const dialog = document.getElementById("key");
    const input = el("input", {type: "password", id: "key-input", autocomplete: "current-password", required: true});
    const remember = el("input", {type: "checkbox", id: "key-remember"});
    return new Promise((resolve) => {
      const form = el("form", {method: "dialog", onsubmit: (event) => {
        event.preventDefault();
        set_api_key(input.value.trim(), remember.checked);
        dialog.close();
      }},
        el("h2", {}, "This server asks for a key"), el("p", {}, api_key() !== "" ? problem : "It was started with an API key; enter it to go on."),
        el("div", {class: "field"}, el("label", {for: "key-input"}, "API key"), input),
        el("div", {class: "field row"}, el("label", {for: "key-remember"}, "Remember it in this browser"), remember),
        el("div", {class: "dialog-actions"}, el("button", {class: "primary"}, "Continue")));
      dialog.replaceChildren(form);
      dialog.onclose = () => resolve();
      dialog.showModal();
      input.focus();
    });
  }

  // ---- Conversations ------------------------------------------------------------------------------------------------

  open(id, focus = true) {
    this.current = this.conversations.find((conversation) => conversation.id === id) ?? new_conversation();
    this.follow.restart();
    this.show();
    if (this.drawer_open()) this.show_sidebar(false);
    if (focus) this.composer.focus();
  }

  create() {
    this.open(null);
  }

  // Keeps it and puts it on top of the list.
  async keep(conversation) {
    this.conversations = [conversation, ...this.conversations.filter((other) => other !== conversation)];
    this.show_list();
    if (conversation === this.current) this.show_title();
    await this.save(conversation);
  }

  async save(conversation) {
    if (!this.conversations.includes(conversation)) return;  // deleted meanwhile
    try {
      await this.store.save(conversation);
    } catch (error) {
      this.toast(`This conversation could not be kept: ${error.message}`);
    }
  }

  rename(id, title) {
    const conversation = this.conversations.find((one) => one.id === id);
    if (title !== null && conversation && title !== title_of(conversation)) {
      conversation.title = title;
      this.save(conversation);
    }
    this.show_list();
    this.show_title();
    this.sidebar.element.querySelector(`[data-id="${id}"] .title`)?.focus();
  }

  async remove(id) {
    const at = this.conversations.findIndex((one) => one.id === id);
    const [conversation] = this.conversations.splice(at, 1);
    this.runs.get(id)?.stop();
    if (this.current === conversation) this.open(this.conversations[at]?.id ?? this.conversations[at - 1]?.id, false);
    else this.show_list();
    (this.sidebar.element.querySelector("li.current .title") ?? this.sidebar.element.querySelector(".new")).focus();
    await this.store.remove(conversation);
  }

  async export(id) {
    const conversation = this.conversations.find((one) => one.id === id);
    let text;
    try {
      text = await export_conversation(conversation, (blob) => this.store.blob(blob));
    } catch (error) {
      return this.toast(`This conversation could not be exported: ${error.message}`);
    }
    const url = URL.createObjectURL(new Blob([text], {type: "application/json"}));
    const name = title_of(conversation).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 50) || "conversation";
    el("a", {href: url, download: `${name}.json`}).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  async import(file) {
    try {
      const {conversation, blobs} = import_conversation(await file.text());
      for (const [id, blob] of blobs) await this.store.save_blob(id, blob);
      await this.keep(conversation);
      this.open(conversation.id);
    } catch (error) {
      this.toast(`${file.name}: ${error.message}.`);
    }
  }

  async url_of(attachment) {
    if (!this.urls.has(attachment.id)) {
      const blob = await this.store.blob(attachment.id);
      if (!blob) return null;
      this.urls.set(attachment.id, URL.createObjectURL(blob));
    }
    return this.urls.get(attachment.id);
  }

  // ---- Showing ------------------------------------------------------------------------------------------------------

  show() {
    this.runs.forEach((run) => run.attach(null));
    const {current} = this;
    const messages = branch(current);
    const results = new Map(messages.filter((message) => message.role === "tool").map((message) => [message.call, message]));
    const empty = messages.length === 0;
    this.follow.resting = empty;
    this.thread.replaceChildren(...(empty ? [welcome(this.model, (text, file) => this.try_example(text, file))] :
      messages.filter((message) => message.role !== "tool").map((message) => this.view_of(message, results))));
    this.composer.set_busy(this.runs.has(current.id));
    this.show_list();
    this.show_title();
    this.follow.grown();
  }

  view_of(message, results) {
    if (message.role === "user") return new UserView(this.current, message, this.view_actions).element;
    const run = this.runs.get(this.current.id);
    const live = run?.message === message;
    const view = new ReplyView(this.current, message, this.view_actions, {live, results, context: this.model?.context});
    if (live) run.attach(view);
    return view.element;
  }

  show_list() {
    this.sidebar.show(this.conversations, this.current.id, this.runs);
  }

  show_title() {
    const kept = this.conversations.includes(this.current);
    document.title = kept ? `${title_of(this.current)} · Lapidary` : "Lapidary";
    const hash = kept ? `#${this.current.id}` : "";
    if (location.hash !== hash) history[hash === "" || location.hash === "" ? "replaceState" : "pushState"](null, "", hash || location.pathname);
  }

  show_version(message) {
    if (this.runs.has(this.current.id)) return this.toast("An answer is still arriving.");
    show_branch(this.current, message.id);
    this.follow.following = false;
    this.show();
    this.thread.querySelector(`[data-id="${message.id}"] .versions button:not(:disabled)`)?.focus();
    this.save(this.current);
  }

  edit_last() {
    const views = this.thread.querySelectorAll(".message.user");
    views[views.length - 1]?.querySelector('button[title^="Edit"]')?.click();
  }

  // ---- Asking -------------------------------------------------------------------------------------------------------

  // False when nothing was sent, so that the composer keeps its text.
  send(text, items) {
    if (!this.model || this.runs.has(this.current.id) || !this.check_settings()) return false;
    const attachments = items.map(({id, kind, name, type, size}) => ({id, kind, name, type, size}));
    const kept = Promise.all(items.map((item) => this.store.save_blob(item.id, item.blob))).catch((error) =>
      this.toast(`An attachment could not be kept: ${error.message}`));
    add_message(this.current, this.current.leaf, {role: "user", text, attachments});
    this.answer(kept);
    return true;
  }

  try_example(text, file) {
    if (!file) return this.composer.actions.send(text, []);
    this.composer.tray.add([file]).then(() => {
      if (this.send(text, this.composer.tray.items)) this.composer.tray.take();
    });
  }

  resend(message, text, attachments) {
    if (!this.model || !this.check_settings()) return;
    this.stop();
    add_message(this.current, message.parent, {role: "user", text, attachments});
    this.answer();
    this.composer.focus();
  }

  regenerate(message) {
    if (!this.model || !this.check_settings()) return;
    this.stop();
    // A try that gave nothing is no version to come back to.
    const nothing = message.text === "" && message.calls.length === 0 && children(this.current, message.id).length === 0;
    if (nothing) delete this.current.messages[message.id];
    this.current.leaf = message.parent;
    this.answer();
  }

  send_results(message, results) {
    if (!this.check_settings()) return;
    let parent = message.id;
    for (const {call, text} of results) parent = add_message(this.current, parent, {role: "tool", call, text}).id;
    this.answer();
    this.composer.focus();
  }

  check_settings() {
    try {
      request_fields(this.settings, this.model);
      return true;
    } catch (error) {
      this.toast(`${error.message} See the settings.`);
      return false;
    }
  }

  stop() {
    this.runs.get(this.current.id)?.stop();
  }

  // Has the shown branch answered. ready: what has to be kept before its bytes can be read.
  answer(ready = Promise.resolve()) {
    const {current: conversation, model} = this;
    const history = branch(conversation);
    const message = add_message(conversation, conversation.leaf, new_reply(model.id));
    const fields = request_fields(this.settings, model);
    const system = this.settings.system;
    const run = new ReplyRun(conversation, message, {
      body: async () => {
        await ready;
        return {model: model.id, messages: await request_messages(history, system, (id) => this.store.blob(id)), return_progress: true, ...fields};
      },
      on_paint: () => this.follow.grown(),
      on_save: () => this.save(conversation),
      on_end: (error) => this.ended(run, error),
    });
    this.runs.get(conversation.id)?.attach(null);  // one that was stopped just now
    this.runs.set(conversation.id, run);
    this.follow.restart();
    this.show();
    announce("Answering");
    this.keep(conversation);
  }

  async ended(run, error) {
    const {conversation, message} = run;
    if (this.runs.get(conversation.id) === run) this.runs.delete(conversation.id);
    this.save(conversation);
    if (run.view) {
      run.view.show();
      this.follow.grown();
      announce(message.error ? message.error.message : message.text.slice(0, kAnnouncedCharsMax) || "Done");
    }
    this.composer.set_busy(this.runs.has(this.current.id));
    this.show_list();
    if (error?.status === 401) {
      await this.ask_key(error.message);
      if (api_key() !== "" && this.current === conversation && conversation.leaf === message.id) this.regenerate(message);
    }
  }
}

new App().start();
