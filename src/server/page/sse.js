// Server-sent events out of a stream of bytes, cut anywhere: inside a character, a line end, a field name. The format is
// that of the HTML standard (9.2.6); ids and retry times are of no use to a reply and are skipped.
const kEventCharsMax = 32 << 20;  // of one event: a server that never ends its line must not fill the memory

export class SseParser {
  // on_event(data, event name) for every event with data.
  constructor(on_event) {
    this.on_event = on_event;
    this.decoder = new TextDecoder();  // drops a byte order mark by itself
    this.pieces = [];                  // of the line that has no end yet
    this.piece_chars = 0;
    this.after_cr = false;  // the last chunk ended in CR: an LF that follows belongs to it
    this.data = [];
    this.data_chars = 0;
    this.event = "";
  }

  push(bytes) {
    this.text(this.decoder.decode(bytes, {stream: true}));
  }

  text(text) {
    if (this.after_cr && text !== "") {
      if (text[0] === "\n") text = text.slice(1);
      this.after_cr = false;
    }
    const line_end = /\r\n|\n|\r/g;
    let start = 0;
    for (let match; (match = line_end.exec(text));) {
      this.pieces.push(text.slice(start, match.index));
      start = match.index + match[0].length;
      if (match[0] === "\r" && start === text.length) this.after_cr = true;
      const line = this.pieces.join("");
      this.pieces = [];
      this.piece_chars = 0;
      this.line(line);
    }
    if (start < text.length) {
      this.pieces.push(text.slice(start));
      this.piece_chars += text.length - start;
      if (this.piece_chars > kEventCharsMax) throw new Error("the server sent a line without end");
    }
  }

  line(line) {
    if (line === "") {
      if (this.data.length > 0) this.on_event(this.data.join("\n"), this.event || "message");
      this.data = [];
      this.data_chars = 0;
      this.event = "";
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;  // a comment: keep-alive
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value[0] === " ") value = value.slice(1);
    if (field === "event") this.event = value;
    if (field === "data") {
      this.data.push(value);
      this.data_chars += value.length;
      if (this.data_chars > kEventCharsMax) throw new Error("the server sent an event without end");
    }
  }
}
