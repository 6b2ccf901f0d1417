// What is attached to the message being written: kinds of files, previews, and the tray that holds them in order.
import {bytes, clock, el, icon_button} from "./dom.js";
import {icon} from "./icons.js";
import {new_id, safe_type} from "./conversation.js";

const kSoundNames = /\.(wav|mp3|flac|ogg|oga|opus|m4a|aac|weba)$/i;
const kVideoNames = /\.(mp4|m4v|mov|mkv|webm|avi|ts|mpg|mpeg)$/i;
const kPictureNames = /\.(jpe?g|png|webp|gif|bmp|avif|heic|heif)$/i;
const kTextNames = /\.(txt|md|csv|tsv|json|jsonl|xml|ya?ml|toml|ini|log|html?|css|js|mjs|ts|tsx|jsx|py|rb|rs|go|c|h|cc|cpp|hpp|java|kt|swift|sh|sql|tex|diff|patch)$/i;
const kServerPictures = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"];  // decoded by the server; others are converted here
const kTextBytesMax = 1 << 20;
const kFileBytesMax = 128 << 20;  // its base64 still fits into a request

// "image", "audio", "video", "text" or null.
export function kind_of(file) {
  if (file.type.startsWith("image/") || kPictureNames.test(file.name)) return file.type === "image/svg+xml" ? "text" : "image";
  if (file.type.startsWith("audio/") || kSoundNames.test(file.name)) return "audio";
  if (file.type.startsWith("video/") || (kVideoNames.test(file.name) && file.type !== "text/plain")) return "video";
  if (file.type.startsWith("text/") || file.type === "application/json" || kTextNames.test(file.name)) return "text";
  return null;
}

// A picture in a format that the server takes; as it is where it already has one.
async function server_picture(file) {
  if (kServerPictures.includes(file.type)) return file;
  const bitmap = await createImageBitmap(file);
  const canvas = el("canvas", {width: bitmap.width, height: bitmap.height});
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

const kNouns = {image: "pictures", audio: "sound", video: "video"};

export class Tray {
  // accepts() -> Set of modalities; on_change() after every change; on_problem(text) when a file is refused.
  constructor(element, {accepts, on_change, on_problem}) {
    Object.assign(this, {element, accepts, on_change, on_problem});
    this.items = [];  // {id, kind, name, type, size, blob}
    this.show();
  }

  // Adds files in their order; those that cannot be used are reported, the others are taken.
  async add(files) {
    for (const file of files) {
      try {
        this.items.push(await this.item_of(file));
        this.show();
      } catch (error) {
        this.on_problem(`${file.name || "This file"}: ${error.message}.`);
      }
    }
  }

  async item_of(file) {
    const kind = kind_of(file);
    if (!kind) throw new Error("not a kind of file the model can read");
    if (kind !== "text" && !this.accepts().has(kind)) throw new Error(`this model does not take ${kNouns[kind]}`);
    if (file.size === 0) throw new Error("the file is empty");
    if (file.size > (kind === "text" ? kTextBytesMax : kFileBytesMax)) throw new Error(`${bytes(file.size)} are too many`);
    let blob = file;
    if (kind === "image") {
      blob = await server_picture(file).catch(() => {
        throw new Error("this browser cannot read the picture");
      });
    }
    const type = safe_type(kind, blob.type || file.type);
    return {id: new_id(), kind, name: file.name || `pasted.${type.split("/")[1] || kind}`, type, size: blob.size,
      blob: new Blob([await blob.arrayBuffer()], {type})};
  }

  set(items) {
    this.items = items;
    this.show();
  }

  take() {
    const items = this.items;
    this.items = [];
    this.show();
    return items;
  }

  remove(item) {
    const index = this.items.indexOf(item);
    this.items.splice(index, 1);
    this.show();
    const buttons = this.element.querySelectorAll("button.remove");
    (buttons[Math.min(index, buttons.length - 1)] ?? document.getElementById("prompt"))?.focus();
  }

  show() {
    this.urls?.forEach((url) => URL.revokeObjectURL(url));
    this.urls = [];
    this.element.hidden = this.items.length === 0;
    this.element.replaceChildren(...this.items.map((item) => this.preview(item)));
    this.on_change();
  }

  preview(item) {
    const url = URL.createObjectURL(item.blob);
    this.urls.push(url);
    return el("li", {class: `preview ${item.kind}`}, item.kind === "image" ? el("img", {src: url, alt: item.name}) : file_label(item, url),
      icon_button("remove", `Remove ${item.name}`, () => this.remove(item), {class: "remove"}));
  }
}

const kIcons = {audio: "sound", video: "film", text: "file"};

// Name, and length where there is one.
function file_label(item, url) {
  const detail = el("small", {}, bytes(item.size));
  if (item.kind === "audio" || item.kind === "video") {
    const probe = el(item.kind, {preload: "metadata"});
    probe.onloadedmetadata = () => Number.isFinite(probe.duration) && (detail.textContent = clock(probe.duration));
    probe.src = url;
  }
  return el("span", {class: "file"}, icon(kIcons[item.kind]), el("span", {class: "file-text"}, el("span", {class: "file-name"}, item.name), detail));
}

// An attachment of a sent message. url: an object URL of its bytes, or null when they are gone.
export function sent_attachment(attachment, url, open_picture) {
  if (!url) return el("div", {class: "sent gone"}, `${attachment.name} is not kept any more`);
  if (attachment.kind === "image") {
    return el("button", {type: "button", class: "sent picture", "aria-label": `Show ${attachment.name}`, onclick: () => open_picture(url, attachment.name)},
      el("img", {src: url, alt: attachment.name}));
  }
  if (attachment.kind === "audio") return el("audio", {class: "sent", src: url, controls: true, preload: "metadata", "aria-label": attachment.name});
  if (attachment.kind === "video") return el("video", {class: "sent", src: url, controls: true, preload: "metadata", playsinline: true, "aria-label": attachment.name});
  return el("a", {class: "sent file", href: url, download: attachment.name}, icon("file"), el("span", {class: "file-name"}, attachment.name));
}
