// Where a message is written: text, attachments, microphone, camera, and the buttons that send and stop.
import {Tray} from "./attachments.js";
import {has_camera, take_picture} from "./camera.js";
import {announce, clock, el, grow_textarea, icon_button} from "./dom.js";
import {icon} from "./icons.js";
import {can_record, kRecordingSecondsMax, start_recording} from "./recorder.js";

const kAccept = {image: "image/*", audio: "audio/*", video: "video/*"};

export class Composer {
  // actions: send(text, items), stop(), edit_last(), settings_changed(name, value), open_settings(), problem(text).
  constructor(settings, actions) {
    Object.assign(this, {settings, actions});
    this.model = null;
    this.busy = false;
    this.recording = null;
    this.element = document.getElementById("composer");
    this.area = el("textarea", {id: "prompt", rows: 1, "aria-label": "Message", placeholder: "Ask anything", enterkeyhint: "send"});
    this.files = el("input", {type: "file", multiple: true, hidden: true, id: "files", onchange: () => {
      this.tray.add([...this.files.files]);
      this.files.value = "";
    }});
    this.attach = icon_button("attach", "Attach files", () => this.files.click());
    this.camera = icon_button("camera", "Take a picture", () => this.take_picture());
    this.microphone = icon_button("microphone", "Record", () => this.record());
    this.think = el("button", {type: "button", class: "think", "aria-pressed": "false", title: "Think before answering",
      onclick: () => actions.settings_changed("think", !this.settings.think)}, icon("think"), el("span", {}, "Think"));
    this.chips = el("span", {class: "setting-chips"});
    this.send = el("button", {type: "button", class: "send", onclick: () => (this.busy ? actions.stop() : this.submit())});
    this.recorder = el("div", {class: "recorder", hidden: true});
    const tray = el("ul", {class: "tray", "aria-label": "Attachments"});
    this.bar = el("div", {class: "composer-bar"}, this.attach, this.camera, this.microphone, this.think, this.chips,
      el("span", {class: "grow"}), this.send);
    this.element.append(tray, this.area, this.recorder, this.bar, this.files);
    this.tray = new Tray(tray, {
      accepts: () => this.model?.inputs ?? new Set(["text"]),
      on_change: () => this.show(),
      on_problem: actions.problem,
    });
    this.listen();
    this.show();
  }

  listen() {
    this.area.addEventListener("input", () => {
      grow_textarea(this.area);
      this.show();
    });
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (!this.busy) this.submit();
      } else if (event.key === "ArrowUp" && this.area.value === "" && this.tray.items.length === 0) {
        event.preventDefault();
        this.actions.edit_last();
      }
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0 || event.target.closest?.("dialog")) return;
      event.preventDefault();
      this.tray.add(files);
      this.focus();
    });
    this.listen_for_drops();
  }

  listen_for_drops() {
    const has_files = (event) => event.dataTransfer?.types.includes("Files");
    const veil = document.getElementById("drop");
    let depth = 0;  // enter and leave come for every element on the way
    const show = (by) => {
      depth = by === 0 ? 0 : Math.max(0, depth + by);
      veil.hidden = depth === 0;
    };
    addEventListener("dragenter", (event) => has_files(event) && show(1));
    addEventListener("dragleave", (event) => has_files(event) && show(-1));
    addEventListener("dragover", (event) => has_files(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      show(0);
      if (!has_files(event)) return;
      event.preventDefault();
      this.tray.add([...event.dataTransfer.files]);
      this.focus();
    });
  }

  set_model(model) {
    this.model = model;
    this.show();
  }

  set_busy(busy) {
    if (this.busy === busy) return;
    this.busy = busy;
    this.show();
  }

  focus() {
    this.area.focus();
  }

  set_text(text) {
    this.area.value = text;
    grow_textarea(this.area);
    this.show();
  }

  submit() {
    const text = this.area.value.trim();
    if (text === "" && this.tray.items.length === 0) return this.focus();
    if (!this.actions.send(text, this.tray.items)) return;
    this.tray.take();
    this.set_text("");
    this.focus();
  }

  show() {
    if (!this.tray) return;
    const inputs = this.model?.inputs ?? new Set();
    this.files.accept = [...Object.keys(kAccept).filter((kind) => inputs.has(kind)).map((kind) => kAccept[kind]), "text/*", ".md", ".json"].join(",");
    this.camera.hidden = !inputs.has("image") || !has_camera();
    this.microphone.hidden = !inputs.has("audio") || !can_record();
    this.think.hidden = !this.model?.thinking;
    this.think.setAttribute("aria-pressed", String(this.settings.think));
    this.show_chips();
    const empty = this.area.value.trim() === "" && this.tray.items.length === 0;
    const label = this.busy ? "Stop (Esc)" : "Send (Enter)";
    if (this.send.getAttribute("aria-label") !== label) {
      this.send.setAttribute("aria-label", label);
      this.send.title = label;
      this.send.replaceChildren(icon(this.busy ? "stop" : "send"));
    }
    this.send.classList.toggle("stop", this.busy);
    this.send.disabled = !this.busy && (empty || this.model === null);
    this.send.hidden = this.recording !== null;
  }

  // What would otherwise change answers unseen.
  show_chips() {
    const names = [];
    if (this.settings.system.trim() !== "") names.push("Instructions");
    if (this.settings.schema.trim() !== "") names.push("Schema");
    if (this.settings.tools.trim() !== "") names.push("Tools");
    this.chips.replaceChildren(...names.map((name) =>
      el("button", {type: "button", class: "chip", title: `${name} are set: open the settings`, onclick: this.actions.open_settings}, name)));
  }

  async take_picture() {
    try {
      const picture = await take_picture();
      if (picture) await this.tray.add([new File([picture], "photo.jpg", {type: picture.type})]);
    } catch (error) {
      this.actions.problem(refusal("camera", error));
    }
    this.focus();
  }

  async record() {
    const time = el("span", {class: "recorder-time"}, clock(0));
    const level = el("meter", {min: 0, max: 1, "aria-label": "Level"});
    try {
      this.recording = await start_recording((at, peak) => {
        time.textContent = `${clock(at)} / ${clock(kRecordingSecondsMax)}`;
        level.value = Math.max(peak, 0.8 * level.value);
        if (at >= kRecordingSecondsMax) this.end_recording(true);
      });
    } catch (error) {
      return this.actions.problem(refusal("microphone", error));
    }
    this.recorder.replaceChildren(el("span", {class: "recorder-dot", "aria-hidden": "true"}), time, level,
      icon_button("remove", "Discard the recording", () => this.end_recording(false)),
      el("button", {type: "button", class: "primary", onclick: () => this.end_recording(true)}, "Done"));
    this.recorder.hidden = false;
    this.element.classList.add("recording");
    this.recorder.lastChild.focus();
    announce("Recording");
    this.show();
  }

  async end_recording(keep) {
    const recording = this.recording;
    if (!recording) return;
    this.recording = null;
    this.recorder.hidden = true;
    this.element.classList.remove("recording");
    const blob = keep ? await recording.stop() : await recording.cancel();
    if (blob) await this.tray.add([new File([blob], "recording.wav", {type: blob.type})]);
    announce(blob ? "Recording attached" : "Recording discarded");
    this.show();
    this.focus();
  }
}

function refusal(device, error) {
  if (error.name === "NotAllowedError") return `The browser does not let this page use the ${device}.`;
  if (error.name === "NotFoundError") return `There is no ${device}.`;
  return `The ${device} cannot be used (${error.message}).`;
}
