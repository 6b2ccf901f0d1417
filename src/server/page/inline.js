// The inline half of Markdown: one paragraph's text -> nodes. Follows CommonMark where a model's answers need it, in one
// pass: an opener starts a frame, its closer folds the frame into an element. Raw HTML is text. While the text is still
// growing (open), what is not closed yet is shown as if it were, so that nothing jumps when its end arrives.
import {el} from "./dom.js";

const kFramesMax = 32;      // nested emphasis and links: deeper ones stay text
const kUrlCharsMax = 2000;
const kWrappedCharsMin = 60;
const kUnfinishedCharsMax = 300;  // emphasis or code that is longer without its end was none
const kEntities = {amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", hellip: "…",
  mdash: "—", ndash: "–", times: "×", deg: "°", rarr: "→", larr: "←", middot: "·", bull: "•", euro: "€"};

// Plain characters until the next one that may mean something.
const kPlain = /[^\\`*_~[\]!<&\n:$]+/y;
const kEscapable = /[!-/:-@[-`{-~]/;
const kDestination = /\(\s{0,8}(?:<([^<>\n]{0,2000})>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.){0,2000}\)){0,2000}))(?:\s{1,8}(?:"([^"]{0,500})"|'([^']{0,500})'))?\s{0,8}\)/y;
const kAutolink = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/y;
const kBreak = /<br\s{0,8}\/?>/iy;
const kEntity = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z]{2,8}));/y;
const kBareRest = /:\/\/[^\s<>"`]{1,2000}/y;
const kFormula = /\$\$[^$]{1,2000}\$\$|\$(?![\s$])[^$\n]{0,500}[^\s$\\]\$(?!\d)/y;

function at(pattern, text, position) {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

// An address a link may lead to, or null: http, https and mail only. Everything else would run or read something.
export function safe_url(address) {
  if (address.length > kUrlCharsMax) return null;
  try {
    const url = new URL(address);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(address, title, children) {
  const href = safe_url(address);
  if (href === null) return el("span", {class: "no-link"}, ...children);
  return el("a", {href, title: title || null, target: "_blank", rel: "noopener noreferrer nofollow"}, ...children);
}

function decode_entity(match) {
  const [whole, decimal, hex, name] = match;
  if (name) return kEntities[name] ?? whole;
  const code = decimal ? parseInt(decimal, 10) : parseInt(hex, 16);
  return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) ? String.fromCodePoint(code) : "\ufffd";
}

class Inline {
  constructor(text, open) {
    this.text = text;
    this.open = open;
    this.position = 0;
    // The bottom frame holds what belongs to no opener. A frame: {mark: "*" "_" "~" "[" "!", count, nodes}.
    this.frames = [{mark: "", count: 0, nodes: []}];
    this.unclosed_ticks = new Set();  // lengths of backtick runs that have no partner in the rest of the text
    this.bracket_ends = null;         // the next "](" at or behind bracket_ends, -1 when there is none
    this.swallowed = false;           // an unfinished link's address reaches to the end
  }

  top() {
    return this.frames[this.frames.length - 1];
  }

  add(node) {
    const nodes = this.top().nodes;
    const last = nodes.length - 1;
    if (typeof node === "string" && typeof nodes[last] === "string") nodes[last] += node;
    else if (node !== "") nodes.push(node);
  }

  // Every frame from `depth` up becomes text again: its opener, then what it held.
  flatten(depth) {
    while (this.frames.length > depth) {
      const frame = this.frames.pop();
      this.add(frame.mark === "!" ? "![" : frame.mark.repeat(frame.count));
      frame.nodes.forEach((node) => this.add(node));
    }
  }

  run() {
    const text = this.text;
    while (this.position < text.length && !this.swallowed) {
      const plain = at(kPlain, text, this.position);
      if (plain) {
        this.add(plain[0]);
        this.position = kPlain.lastIndex;
        continue;
      }
      this.special(text[this.position]);
    }
    if (this.open) this.close_unfinished();
    this.flatten(1);
    return this.frames[0].nodes;
  }

  special(c) {
    const text = this.text;
    const next = text[this.position + 1] ?? "";
    const take = (pattern, make) => {
      const match = at(pattern, text, this.position);
      if (!match) return false;
      this.add(make(match));
      this.position = pattern.lastIndex;
      return true;
    };
    if (c === "\\" && next === "\n") return this.line_break(2);
    if (c === "\\" && kEscapable.test(next)) return this.literal(next, 2);
    if (c === "\n") return this.line_break(1);
    if (c === "`") return this.code();
    if (c === "*" || c === "_" || c === "~") return this.emphasis(c);
    if (c === "!" && next === "[") return this.bracket("!", 2);
    if (c === "[") return this.bracket("[", 1);
    if (c === "]") return this.close_bracket();
    if (c === "<" && take(kAutolink, (m) => link(m[1], null, [m[1].replace(/^mailto:/, "")]))) return;
    if (c === "<" && take(kBreak, () => el("br"))) return;
    if (c === "&" && take(kEntity, decode_entity)) return;
    if (c === ":" && this.bare_address()) return;
    if (c === "$" && take(kFormula, (m) => el("span", {class: "formula"}, m[0]))) return;
    this.literal(c, 1);
  }

  literal(text, length) {
    this.add(text);
    this.position += length;
  }

  // A short line's end inside a paragraph is a line break, as in verse and addresses; a long line was wrapped by whoever
  // wrote it, and its end is a space unless it asks for more.
  line_break(length) {
    const line = this.text.slice(this.text.lastIndexOf("\n", this.position - 1) + 1, this.position);
    const asked = length === 2 || line.endsWith("  ");
    const nodes = this.top().nodes;
    const last = nodes.length - 1;
    if (typeof nodes[last] === "string") nodes[last] = nodes[last].trimEnd();
    this.add(asked || line.length < kWrappedCharsMin ? el("br") : " ");
    this.position += length;
  }

  code() {
    const text = this.text;
    const start = this.position;
    let end = start;
    while (text[end] === "`") ++end;
    const length = end - start;
    if (!this.unclosed_ticks.has(length)) {
      for (let from = text.indexOf("`", end); from >= 0;) {
        let to = from;
        while (text[to] === "`") ++to;
        if (to - from === length) {
          this.add(el("code", {}, this.code_text(text.slice(end, from))));
          this.position = to;
          return;
        }
        from = text.indexOf("`", to);
      }
      this.unclosed_ticks.add(length);
    }
    const rest = text.slice(end);
    if (this.open && rest.length < kUnfinishedCharsMax) {
      if (rest.trim() !== "") this.add(el("code", {}, rest.replace(/\n/g, " ")));
      this.position = text.length;
    } else {
      this.literal("`".repeat(length), length);
    }
  }

  code_text(text) {
    text = text.replace(/\n/g, " ");
    return text[0] === " " && text.endsWith(" ") && text.trim() !== "" ? text.slice(1, -1) : text;
  }

  emphasis(mark) {
    const text = this.text;
    let end = this.position;
    while (text[end] === mark) ++end;
    let count = end - this.position;
    const before = text[this.position - 1] ?? " ";
    const after = text[end] ?? (this.open ? "." : " ");
    const space_before = /\s/.test(before), space_after = /\s/.test(after);
    let opens = !space_after, closes = !space_before;
    if (mark === "_") {
      // Inside a word an underscore is a letter.
      const word = /[\p{L}\p{N}]/u;
      opens &&= !word.test(before);
      closes &&= !word.test(after) || (end === text.length && this.open);
    }
    if (mark === "~" && count !== 2) opens = closes = false;
    this.position = end;
    while (closes && count > 0) {
      const depth = this.opener(mark, count, opens);
      if (depth < 0) break;
      count -= this.fold(depth, mark === "~" ? 2 : count);
    }
    if (count === 0) return;
    // What stands at the very end of a growing text may yet become anything: it is not shown.
    if (this.open && end === text.length && mark !== "_") return;
    if (opens && this.frames.length < kFramesMax) this.frames.push({mark, count, both: closes, nodes: [], start: end});
    else this.add(mark.repeat(count));
  }

  // The nearest frame that this run closes; -1 when there is none. Links bind closer than emphasis: an open bracket that
  // may become one is not crossed.
  opener(mark, count, both) {
    for (let depth = this.frames.length - 1; depth > 0; --depth) {
      const frame = this.frames[depth];
      if (this.may_become_link(frame)) return -1;
      if (frame.mark !== mark || (frame.nodes.length === 0 && frame === this.top())) continue;
      // "Rule of three": a run that can do both closes only what it adds up with.
      if ((both || frame.both) && (frame.count + count) % 3 === 0 && (frame.count % 3 !== 0 || count % 3 !== 0)) continue;
      return depth;
    }
    return -1;
  }

  // Folds the frame at `depth` into one element; returns how many marks of the closer that took.
  fold(depth, count) {
    this.flatten(depth + 1);
    const frame = this.top();
    const used = Math.min(frame.count, count, 2);
    const tag = frame.mark === "~" ? "del" : used === 2 ? "strong" : "em";
    const element = el(tag, {}, ...frame.nodes);
    frame.count -= used;
    if (frame.count > 0) {
      frame.nodes = [element];
    } else {
      this.frames.pop();
      this.add(element);
    }
    return used;
  }

  bracket(mark, length) {
    const text = this.text;
    if (this.bracket_ends === null || (this.bracket_ends >= 0 && this.bracket_ends < this.position)) {
      this.bracket_ends = text.indexOf("](", this.position);
    }
    if (this.bracket_ends < 0 || this.frames.length >= kFramesMax) return this.literal(mark === "!" ? "![" : "[", length);
    this.frames.push({mark, count: 1, dead: false, nodes: []});
    this.position += length;
  }

  close_bracket() {
    let depth = this.frames.length - 1;
    while (depth > 0 && this.frames[depth].mark !== "[" && this.frames[depth].mark !== "!") --depth;
    if (depth === 0) return this.literal("]", 1);
    const match = this.text[this.position + 1] === "(" ? at(kDestination, this.text, this.position + 1) : null;
    if (this.frames[depth].dead || !match) {
      const unfinished = !this.frames[depth].dead && this.open && this.text[this.position + 1] === "(" &&
        !/[\n)]/.test(this.text.slice(this.position, this.position + kUrlCharsMax));
      if (!unfinished) {
        // No link: the bracket is a character, and emphasis may cross it again.
        this.flatten(depth);
        return this.literal("]", 1);
      }
    }
    this.flatten(depth + 1);
    const frame = this.frames.pop();
    if (!match) {
      this.add(el("span", {class: "no-link"}, ...frame.nodes));
      this.swallowed = true;
      return;
    }
    this.position = kDestination.lastIndex;
    const address = (match[1] ?? match[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1");
    // The page shows no picture from elsewhere: that would tell somebody that it was read. A link does not.
    const children = frame.nodes.length > 0 ? frame.nodes : [address];
    this.add(link(address, match[3] ?? match[4], children));
    // No link inside a link: the brackets around this one are characters now.
    if (frame.mark === "[") this.frames.forEach((outer) => (outer.dead = true));
  }

  may_become_link(frame) {
    return (frame.mark === "[" || frame.mark === "!") && !frame.dead;
  }

  // "http" and "https" before "://", the rest behind it. Trailing punctuation belongs to the sentence.
  bare_address() {
    const nodes = this.top().nodes;
    const last = nodes.length - 1;
    const scheme = typeof nodes[last] === "string" ? /(?:^|[^\p{L}\p{N}])(https?)$/u.exec(nodes[last]) : null;
    const inside = this.frames.some((frame) => this.may_become_link(frame));
    const rest = scheme && !inside ? at(kBareRest, this.text, this.position) : null;
    if (!rest) return false;
    let surplus = rest[0].split(")").length - rest[0].split("(").length;  // closing parentheses that are the sentence's
    let end = rest[0].length;
    for (; end > 0; --end) {
      const c = rest[0][end - 1];
      if (c === ")" && surplus-- <= 0) break;
      if (c !== ")" && !".,:;!?'*_~]|".includes(c)) break;
    }
    if (end <= 3) return false;
    const tail = rest[0].slice(0, end);
    nodes[last] = nodes[last].slice(0, -scheme[1].length);
    if (nodes[last] === "") nodes.pop();
    const address = scheme[1] + tail;
    this.add(link(address, null, [address]));
    this.position += tail.length;
    return true;
  }

  // The end of a growing text closes everything that a later piece is likely to close.
  close_unfinished() {
    while (this.frames.length > 1) {
      const frame = this.top();
      if (frame.mark === "[" || frame.mark === "!" || this.text.length - frame.start > kUnfinishedCharsMax) {
        this.flatten(this.frames.length - 1);
      } else if (frame.nodes.length === 0) {
        this.frames.pop();
      } else {
        this.fold(this.frames.length - 1, frame.count);
      }
    }
  }
}

// text -> strings and elements, in order.
export function inline_nodes(text, open = false) {
  return new Inline(text, open).run();
}
