// The block half of Markdown, for text that arrives in pieces. Each finished line is looked at once and changes the
// document where it belongs; nothing before the open blocks is touched again, so a long answer costs no more per piece
// than a short one. The line that has no end yet is shown too: it is applied provisionally and taken back before the next
// piece, and its elements are reused, so that neither the eye nor a selection notices.
//
// CommonMark with tables, strikethrough and task items; no raw HTML, no indented code (models indent lists with four
// spaces and mean lists), no reference links.
import {copy_button, el} from "./dom.js";
import {inline_nodes} from "./inline.js";

const kDepthMax = 24;  // nested quotes and lists: deeper ones are text
const kCellsMax = 64;

// Every pattern here takes time in proportion to its line, whatever the line holds.
const kFence = /^(`{3,}|~{3,})([^`]*)$/;
const kHeading = /^(#{1,6})(?:[ \t]|$)/;
const kRule = /^(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const kItem = /^([-*+]|\d{1,9}[.)])(?:[ \t]+|$)/;
const kTask = /^\[([ xX])\][ \t]+/;

// The beginning of a line that may yet become anything: nothing is shown before that is known.
function undecided(line) {
  const text = line.trim();
  return /^[-*_=#>`~+|: \t]*$/.test(text) || /^\d{1,9}[.)]?$/.test(text) || /^[-*+] \[[ xX]?\]?$/.test(text);
}

// Makes the children of `parent` equal to `fresh`, touching only what differs; text grows in place.
export function morph(parent, fresh) {
  let old = parent.firstChild;
  for (const node of fresh) {
    const next = typeof node === "string" ? document.createTextNode(node) : node;
    if (!old) {
      parent.append(next);
    } else if (old.nodeType === Node.TEXT_NODE && next.nodeType === Node.TEXT_NODE) {
      if (next.data.startsWith(old.data)) old.appendData(next.data.slice(old.length));
      else old.data = next.data;
      old = old.nextSibling;
    } else if (old.isEqualNode(next)) {
      old = old.nextSibling;
    } else if (old.nodeName === next.nodeName && !next.hasAttributes?.() && !old.hasAttributes?.()) {
      morph(old, [...next.childNodes]);
      old = old.nextSibling;
    } else {
      const after = old.nextSibling;
      old.replaceWith(next);
      old = after;
    }
  }
  while (old) {
    const after = old.nextSibling;
    old.remove();
    old = after;
  }
}

function spaces_of(line) {
  let columns = 0, length = 0;
  for (; length < line.length; ++length) {
    if (line[length] === " ") columns += 1;
    else if (line[length] === "\t") columns += 4 - (columns % 4);
    else break;
  }
  return {columns, length};
}

// The line without its first `columns` columns of white space.
function outdented(line, columns) {
  const spaces = spaces_of(line);
  return " ".repeat(Math.max(0, spaces.columns - columns)) + line.slice(spaces.length);
}

function cells_of(line) {
  line = line.trim().replace(/^\|/, "");
  const cells = [];
  let start = 0, in_code = false;
  for (let i = 0; i < line.length && cells.length < kCellsMax; ++i) {
    if (line[i] === "\\") ++i;
    else if (line[i] === "`") in_code = !in_code && line.indexOf("`", i + 1) >= 0;
    else if (line[i] === "|" && !in_code) {
      cells.push(line.slice(start, i));
      start = i + 1;
    }
  }
  if (start < line.length && cells.length < kCellsMax) cells.push(line.slice(start));
  return cells.map((cell) => cell.trim().replace(/\\\|/g, "|"));
}

export class Markdown {
  // root: the element that shows the text.
  constructor(root) {
    this.root = root;
    this.pending = "";  // the line that has no end yet
    this.stack = [{kind: "document", element: root}];
    this.dirty = new Set();
    this.provisional = null;  // what a provisional line changed; null when there is none
    this.stale = [];          // blocks of the provisional line before, to be used again
    this.finished = false;
  }

  append(text) {
    this.take_back();
    this.pending += text.replace(/\r\n?/g, "\n");
    let start = 0;
    for (let end; (end = this.pending.indexOf("\n", start)) >= 0; start = end + 1) {
      this.line(this.pending.slice(start, end));
    }
    this.pending = this.pending.slice(start);
    if (this.pending !== "" && !undecided(this.pending)) {
      this.provisional = {
        stack: [...this.stack],
        lists: this.stack.filter((block) => block.kind === "list").map((list) => [list, list.blank, list.loose]),
        made: [],
        grown: [],
      };
      this.line(this.pending);
    }
    this.show();
  }

  finish() {
    this.take_back();
    if (this.pending !== "") this.line(this.pending);
    this.pending = "";
    this.finished = true;
    const leaf = this.leaf();
    if (leaf) this.dirty.add(leaf);
    this.show();
  }

  take_back() {
    if (!this.provisional) return;
    const {stack, lists, made, grown} = this.provisional;
    this.provisional = null;
    for (const block of this.stack) if (!made.includes(block)) this.dirty.add(block);
    for (const [block, count] of grown) {
      block.lines.length = count;
      this.dirty.add(block);
    }
    for (const [list, blank, loose] of lists) Object.assign(list, {blank, loose});
    for (const block of made) this.dirty.delete(block);
    this.stack = stack;
    this.stale = made;
    const leaf = this.leaf();
    if (leaf) this.dirty.add(leaf);
  }

  drop_stale() {
    this.stale.forEach((block) => block.element.remove());
    this.stale = [];
  }

  top() {
    return this.stack[this.stack.length - 1];
  }

  leaf() {
    return this.top().lines ? this.top() : null;
  }

  // Closes blocks until `depth` are open.
  close(depth) {
    while (this.stack.length > depth) {
      const block = this.stack.pop();
      if (block.lines) this.dirty.add(block);
    }
  }

  // Opens a block inside the innermost open one. `key` says which elements are alike enough to be used again.
  open(block, key, make) {
    const parent = this.top();
    const reusable = this.stale[0];
    block.parent = parent;
    block.key = key;
    if (reusable && reusable.key === key && reusable.parent.element === parent.element) {
      this.stale.shift();
      block.element = reusable.element;
      block.text = reusable.text;
      block.label = reusable.label;
    } else {
      this.drop_stale();
      block.element = make(block);
      parent.element.append(block.element);
    }
    this.stack.push(block);
    if (block.lines) this.dirty.add(block);
    if (this.provisional) this.provisional.made.push(block);
    return block;
  }

  grow(block, line) {
    if (this.provisional && !this.provisional.made.includes(block)) this.provisional.grown.push([block, block.lines.length]);
    block.lines.push(line);
    this.dirty.add(block);
  }

  // One line, without its end.
  line(line) {
    let depth = 1;
    for (; depth < this.stack.length; ++depth) {
      const block = this.stack[depth];
      const spaces = spaces_of(line);
      if (block.kind === "quote") {
        if (line[spaces.length] !== ">") break;
        line = outdented(line.slice(spaces.length + 1), 1);
      } else if (block.kind === "item") {
        const blank = spaces.length === line.length;
        if (!blank && spaces.columns < block.least) break;
        line = blank ? "" : outdented(line, Math.min(spaces.columns, block.content));
      } else if (block.kind !== "list") {
        break;
      }
    }
    const inside = depth === this.stack.length - 1 && this.top().lines ? this.top() : null;  // a leaf this line may go on
    if (inside?.kind === "code") return this.code_line(inside, line);
    if (line.trim() === "") return this.blank_line(depth);
    this.text_line(line, depth, inside);
  }

  code_line(code, line) {
    const spaces = spaces_of(line);
    const rest = line.slice(spaces.length);
    if (spaces.columns < 4 && rest[0] === code.fence[0] && rest.startsWith(code.fence) && rest.trimEnd().split(rest[0]).join("") === "") {
      this.close(this.stack.length - 1);
      return;
    }
    this.grow(code, outdented(line, Math.min(spaces.columns, code.indent)));
  }

  blank_line(depth) {
    const quote_left = this.stack.findIndex((block, i) => i >= depth && block.kind === "quote");
    if (quote_left >= 0) this.close(quote_left);
    if (this.top().lines && this.top().kind !== "code") this.close(this.stack.length - 1);
    this.stack.forEach((block) => block.kind === "list" && (block.blank = true));
  }

  text_line(line, depth, inside) {
    let started = false;
    for (;;) {
      const spaces = spaces_of(line);
      const rest = line.slice(spaces.length);
      const paragraph = !started && inside?.kind === "paragraph" ? inside : null;
      let match;
      if (rest[0] === ">" && this.stack.length < kDepthMax) {
        this.container(depth, "quote", () => el("blockquote"));
        line = outdented(rest.slice(1), 1);
      } else if ((match = kFence.exec(rest))) {
        this.start_leaf(depth);
        this.open_code(match[1], match[2].trim().split(/\s+/)[0].slice(0, 40), spaces.columns);
        return;
      } else if ((match = kHeading.exec(rest))) {
        this.start_leaf(depth);
        this.open_heading(match[1].length, [rest.slice(match[1].length).trim().replace(/(^|[ \t])#+$/, "")]);
        return this.close_line_leaf();
      } else if (paragraph && (match = /^(=+|-+)[ \t]*$/.exec(rest))) {
        return this.underline(paragraph, rest[0] === "=" ? 1 : 2);
      } else if (paragraph && this.becomes_table(paragraph, rest)) {
        return;
      } else if (kRule.test(rest)) {
        this.start_leaf(depth);
        this.open({kind: "rule"}, "rule", () => el("hr"));
        this.stack.pop();
        return;
      } else if ((match = kItem.exec(rest)) && this.stack.length < kDepthMax && this.may_interrupt(paragraph, match, rest)) {
        const width = match[0].length - match[1].length;
        const after = rest.slice(match[0].length);
        const content = spaces.columns + match[1].length + (width > 4 || after === "" ? 1 : width);
        this.open_item(depth, match[1], spaces.columns, content);
        line = (width > 4 ? " ".repeat(width - 1) : "") + after;
      } else {
        break;
      }
      started = true;
      depth = this.stack.length;
      if (line.trim() === "") return;
    }
    this.plain_line(line.trimStart(), depth, started, inside);
  }

  plain_line(text, depth, started, inside) {
    if (!started && this.top().kind === "paragraph") return this.grow(this.top(), text);  // lazily, too
    if (!started && inside?.kind === "table" && text.includes("|")) return this.grow(inside, text);
    this.start_leaf(depth);
    this.open({kind: "paragraph", lines: [text]}, "paragraph", () => el("p"));
  }

  // "1999. was a good year" does not begin a list in the middle of a paragraph, "1. first" does.
  may_interrupt(paragraph, match, rest) {
    if (!paragraph) return true;
    if (match[0].length === rest.length) return false;
    return /^[-*+]/.test(match[1]) || parseInt(match[1], 10) === 1 || paragraph.parent.kind === "item";
  }

  start_leaf(depth) {
    this.close(depth);
    if (this.top().kind === "list") this.close(this.stack.length - 1);
    this.spread();
  }

  // A blank line between the parts of a list makes it a loose one.
  spread() {
    const innermost = this.stack.map((block) => block.kind).lastIndexOf("list");
    this.stack.forEach((block, i) => {
      if (block.kind !== "list") return;
      if (block.blank && i === innermost && block.element.firstChild) block.loose = true;
      block.blank = false;
      this.dirty.add(block);
    });
  }

  container(depth, kind, make) {
    this.start_leaf(depth);
    return this.open({kind}, kind, make);
  }

  open_item(depth, marker, indent, content) {
    const ordered = /\d/.test(marker);
    const sign = marker[marker.length - 1];
    this.close(depth);
    if (this.top().kind === "list" && this.top().sign !== sign) this.close(this.stack.length - 1);
    if (this.top().kind !== "list") {
      this.spread();
      const start = ordered ? parseInt(marker, 10) : 1;
      this.open({kind: "list", sign, blank: false, loose: false}, `${sign}${start}`, () =>
        ordered ? el("ol", {start: start === 1 ? null : start}) : el("ul"));
    }
    this.spread();
    // Two columns are enough to stay inside, as models write it, also behind "10. ".
    this.open({kind: "item", least: Math.min(content, indent + 2), content}, "item", () => el("li"));
  }

  open_heading(level, lines) {
    return this.open({kind: "heading", lines}, `h${level}`, () => el(`h${level}`));
  }

  // A leaf of one line is complete with it, unless that line still grows.
  close_line_leaf() {
    if (!this.provisional) this.close(this.stack.length - 1);
  }

  replace(paragraph, open) {
    this.stack.pop();
    this.dirty.delete(paragraph);
    paragraph.element.remove();
    return open();
  }

  underline(paragraph, level) {
    this.replace(paragraph, () => this.open_heading(level, [paragraph.lines.join("\n")]));
    this.close(this.stack.length - 1);
  }

  becomes_table(paragraph, rest) {
    if (!/^[-:| \t]+$/.test(rest) || !/[|:]/.test(rest)) return false;
    const header = paragraph.lines[paragraph.lines.length - 1];
    const columns = cells_of(rest);
    if (!columns.every((cell) => /^:?-+:?$/.test(cell))) return false;
    if (!header.includes("|") || cells_of(header).length !== columns.length) return false;
    const align = columns.map((cell) =>
      /^:-*:$/.test(cell) ? "center" : /:$/.test(cell) ? "right" : /^:/.test(cell) ? "left" : null);
    if (paragraph.lines.length > 1) {
      paragraph.lines.pop();
      this.close(this.stack.length - 1);
    } else {
      this.replace(paragraph, () => {});
    }
    this.open({kind: "table", lines: [header], align, shown: 0}, "table", table_element);
    return true;
  }

  open_code(fence, language, indent) {
    const code = this.open({kind: "code", fence, indent, lines: [], shown: 0}, "code", code_element);
    code.label.textContent = language;
  }

  show() {
    this.drop_stale();
    for (const block of this.dirty) {
      if (block.kind === "list") block.element.classList.toggle("loose", block.loose);
      if (block.lines) this.show_leaf(block, !this.finished && block === this.top());
    }
    this.dirty.clear();
  }

  show_leaf(block, open) {
    if (block.kind === "code") return show_code(block, this.provisional);
    if (block.kind === "table") return show_table(block, open);
    let text = block.lines.join("\n").trimEnd();
    const nodes = [];
    if (block.kind === "paragraph") {
      if (open && block.lines.length === 1 && text[0] === "|") return show_table_preview(block, text);
      const task = block.parent.kind === "item" && block.parent.element.firstChild === block.element ? kTask.exec(text) : null;
      block.parent.element.classList.toggle("task", task !== null || block.parent.element.matches("li.task"));
      if (task) {
        text = text.slice(task[0].length);
        nodes.push(el("input", {type: "checkbox", disabled: true, checked: task[1] !== " "}));
      }
    }
    nodes.push(...inline_nodes(text, open));
    morph(block.element, nodes);
  }
}

function code_element(code) {
  code.label = el("span", {class: "language"});
  code.text = el("code");
  return el("figure", {class: "code"},
    el("figcaption", {}, code.label, copy_button("Copy code", () => code.text.textContent)),
    el("pre", {tabindex: "0"}, code.text));
}

// Finished lines are appended to one text node, the growing line is another: a line costs what it is long.
function show_code(code, provisional) {
  if (code.text.childNodes.length !== 2) code.text.replaceChildren(document.createTextNode(""), document.createTextNode(""));
  const [settled, growing] = code.text.childNodes;
  const provisional_lines = provisional ? provisional.grown.find(([block]) => block === code) : null;
  const settled_count = provisional_lines ? provisional_lines[1] : code.lines.length;
  if (settled_count > code.shown) {
    settled.appendData(code.lines.slice(code.shown, settled_count).map((line) => line + "\n").join(""));
    code.shown = settled_count;
  }
  growing.data = code.lines.slice(settled_count).join("\n");
}

function table_element() {
  return el("div", {class: "table", tabindex: "0", role: "group", "aria-label": "Table"}, el("table", {}, el("thead"), el("tbody")));
}

function fill_row(row, tag, line, align, open) {
  const cells = cells_of(line);
  const columns = align ? align.length : cells.length;
  while (row.children.length > columns) row.lastChild.remove();
  for (let i = 0; i < columns; ++i) {
    const cell = row.children[i] ?? row.appendChild(el(tag, {class: align?.[i]}));
    morph(cell, inline_nodes(cells[i] ?? "", open && i === cells.length - 1));
  }
}

// Rows that are there stay; only the last one shown may have grown, or been taken back.
function show_table(table, open) {
  const [head, body] = table.element.firstChild.children;
  if (!head.firstChild) fill_row(head.appendChild(el("tr")), "th", table.lines[0], table.align, false);
  const rows = table.lines.length - 1;
  while (body.children.length > rows) body.lastChild.remove();
  for (let i = Math.max(0, Math.min(body.children.length, table.shown) - 1); i < rows; ++i) {
    fill_row(body.children[i] ?? body.appendChild(el("tr")), "td", table.lines[i + 1], table.align, open && i === rows - 1);
  }
  table.shown = rows;
}

// A first line that begins with a bar is a table's head, most likely: shown as one until the next line tells.
function show_table_preview(paragraph, text) {
  let row = paragraph.element.querySelector(":scope > .table tr");
  if (!row) {
    const table = table_element();
    paragraph.element.replaceChildren(table);
    row = table.querySelector("thead").appendChild(el("tr"));
  }
  fill_row(row, "th", text, null, true);
}

// The whole text at once.
export function show_markdown(root, text) {
  root.replaceChildren();
  const markdown = new Markdown(root);
  markdown.append(text);
  markdown.finish();
  return markdown;
}
