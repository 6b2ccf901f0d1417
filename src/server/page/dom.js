// Building the page's elements. Text reaches the document only as text nodes and attributes: nothing here, or anywhere
// in the page, parses a string as HTML.
import {icon} from "./icons.js";

// el("button", {class: "send", onclick: send, "aria-label": "Send"}, "Send"). null and false children are left out.
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A button that shows an icon and says its name to everyone: tooltip and screen reader.
export function icon_button(name, label, onclick, more = {}) {
  return el("button", {type: "button", class: "icon", title: label, "aria-label": label, onclick, ...more}, icon(name));
}

// Says a line to screen readers, once, without moving the focus.
export function announce(text) {
  const region = document.getElementById("announcer");
  region.textContent = "";
  // A region that is emptied and filled within one task is not read again when the text is the same.
  setTimeout(() => (region.textContent = text), 50);
}

// The clipboard where it is allowed (https, localhost), the older way where it is not.
export async function copy_text(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", {class: "unseen", value: text, "aria-hidden": "true"});
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

// A copy button that turns into a tick for a moment. text() is asked when it is pressed.
export function copy_button(label, text, more = {}) {
  const button = icon_button("copy", label, async () => {
    await copy_text(text());
    button.replaceChildren(icon("check"));
    announce("Copied");
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  }, more);
  return button;
}

// As high as its text; the style sheet says how high at most.
export function grow_textarea(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

export function count(n, one, many = one + "s") {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function seconds(ms) {
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(s < 1 ? 2 : 1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
}

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${Math.round(n / 1000)} kB`;
  return `${(n / 1e6).toFixed(1)} MB`;
}

// "0:07"
export function clock(s) {
  return `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
}
