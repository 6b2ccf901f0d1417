// One reply on its way: the request, the stream, the clock, and when to paint. It outlives its view: another conversation
// may be shown meanwhile.
import {ApiError, stream_chat} from "./api.js";
import {apply_chunk} from "./conversation.js";

const kSaveEveryMs = 2000;

export class ReplyRun {
  // body(): promise of the request. on_paint() after what is shown has grown, on_save() now and then, on_end(error) once,
  // with the ApiError or null.
  constructor(conversation, message, {body, on_paint, on_save, on_end}) {
    Object.assign(this, {conversation, message, on_paint, on_save, on_end});
    this.view = null;
    this.controller = new AbortController();
    this.unpainted = {text: "", thinking: "", calls: false};
    this.paint_due = 0;
    this.paint_cost_ms = 0;
    this.saved_at = performance.now();
    this.run(body);
  }

  stop() {
    this.controller.abort();
  }

  // Shows itself in `view` from now on; null for nowhere.
  attach(view) {
    this.view = view;
    this.unpainted = {text: "", thinking: "", calls: false};  // a new view begins with all there is
  }

  async run(body) {
    const {message} = this;
    this.started = performance.now();
    let failure = null;
    try {
      await stream_chat(await body(), this.controller.signal, (chunk) => this.chunk(chunk));
    } catch (error) {
      if (error.name === "AbortError") {
        message.stopped = true;
      } else {
        failure = error instanceof ApiError ? error : new ApiError(error.message);
        message.error = {message: failure.message, code: failure.code};
      }
    }
    message.total_ms = performance.now() - this.started;
    if (message.thinking !== "" && message.thinking_ms === null) message.thinking_ms = message.total_ms - (message.first_ms ?? 0);
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.paint();
    this.on_end(failure);
  }

  chunk(chunk) {
    const {message} = this;
    if (chunk.prompt_progress) this.progress(chunk.prompt_progress);
    const grown = apply_chunk(message, chunk);
    if (!grown.text && !grown.thinking && !grown.calls) return;
    const now = performance.now() - this.started;
    message.first_ms ??= now;
    if ((grown.text || grown.calls) && message.thinking !== "") message.thinking_ms ??= now - message.first_ms;
    this.unpainted.text += grown.text;
    this.unpainted.thinking += grown.thinking;
    this.unpainted.calls ||= grown.calls;
    this.schedule();
  }

  progress({total, processed}) {
    if (!this.view || !(total > 0)) return;
    this.view.progress(processed < total && total > 500 ? `Reading, ${Math.floor((100 * processed) / total)} %` : "");
  }

  // Once a frame; less often when a paint takes long, so that painting never takes more than a fifth of the time. Without
  // frames (a tab in the background) the timer paints.
  schedule() {
    if (this.paint_due) return;
    const wait = Math.max(0, 4 * this.paint_cost_ms - 16);
    this.paint_due = 1;
    const paint = () => {
      cancelAnimationFrame(this.frame);
      clearTimeout(this.timer);
      this.paint();
    };
    this.timer = setTimeout(paint, wait > 0 ? wait : 200);
    if (wait === 0) this.frame = requestAnimationFrame(paint);
  }

  paint() {
    this.paint_due = 0;
    const {text, thinking, calls} = this.unpainted;
    if (this.view && (text || thinking || calls)) {
      const before = performance.now();
      this.view.grow(this.unpainted);
      this.on_paint();
      this.paint_cost_ms = performance.now() - before;
    }
    this.unpainted = {text: "", thinking: "", calls: false};
    if (performance.now() - this.saved_at > kSaveEveryMs) {
      this.saved_at = performance.now();
      this.on_save();
    }
  }
}
