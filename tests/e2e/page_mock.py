"""A server with the page's files and scripted replies, for what no model can be made to say: hostile Markdown, errors at a
chosen moment, calls, endless answers. Its streams are cut at awkward bytes, with comments and CRLF between the events."""
import http.server
import json
import pathlib
import threading
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = (TREE / "src/server/page", TREE / "examples")
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".wav": "audio/wav", ".mp4": "video/mp4"}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: data:; "
          "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")

LONG = """## Rainfall

The **median** is more robust than the *mean*: one wet week moves the mean by `12.4` mm and the median not at all. See
[the definition](https://en.wikipedia.org/wiki/Median) for details.

| Month | Days | Rain (mm) | Note |
|:------|-----:|----------:|------|
| March | 14 | 61.2 | cold |
| April | 11 | 48.0 | windy |
| May | 9 | 39.7 | the driest |

1. Sort the values.
2. Take the middle one:
   - an odd count has one,
   - an even count has two, so take their average.
3. Done.

```python
def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
```

> Robust statistics sacrifice a little efficiency for a lot of safety.

That is all there is to it.
"""

HOSTILE = """# <img src=x onerror="window.pwned=1">

<script>window.pwned=2</script> <iframe src="javascript:window.pwned=3"></iframe> <svg onload="window.pwned=4">

[a](javascript:window.pwned=5) [b](JaVaScRiPt:window.pwned=6) [c](data:text/html,<script>window.pwned=7</script>)
[d](java&#115;cript:window.pwned=8) [e](vbscript:x) [f](&#x6A;avascript:window.pwned=9) ![g](javascript:window.pwned=10)
<javascript:window.pwned=11> [h](<javascript:window.pwned=12>) [i](http://ok.example/" onclick="window.pwned=13)
[j](//evil.example) ![k](https://evil.example/track.png) [l](file:///etc/passwd) [m](blob:x) <a href="javascript:window.pwned=14">n</a>

```"><script>window.pwned=15</script>
</code></pre><script>window.pwned=16</script>
```

| <b onmouseover="window.pwned=17">x</b> | `<script>` |
|---|---|
| [o](javascript:window.pwned=18) | </td><script>window.pwned=19</script> |
"""

TOOL_ARGUMENTS = '{"city":"Bergen","days":2}'


def words(text, size=6):
    return [text[i:i + size] for i in range(0, len(text), size)]


class PageMock:
    def __init__(self):
        self.requests = []      # bodies of chat requests
        self.key = None         # the API key, when there is one
        self.aborted = 0        # streams whose reader left
        self.fail_next = None   # (status, error object) for the next chat request
        self.inputs = ["text", "image", "audio", "video"]
        self.pause = 0.0        # seconds between events
        mock = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                mock.get(self)

            def do_POST(self):
                mock.post(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reply(self, handler, status, content_type, body, **headers):
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), "Content-Security-Policy": POLICY,
                            "X-Content-Type-Options": "nosniff", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def json(self, handler, value, status=200):
        self.reply(handler, status, "application/json", json.dumps(value).encode())

    def refused(self, handler):
        if self.key is None or handler.headers.get("Authorization") == f"Bearer {self.key}":
            return False
        self.json(handler, {"error": {"message": "This key is not known.", "type": "invalid_request_error", "code": "invalid_api_key"}}, 401)
        return True

    def get(self, handler):
        path = handler.path.split("?")[0]
        if path == "/v1/models":
            if not self.refused(handler):
                self.json(handler, {"object": "list", "data": [{
                    "id": "demo", "object": "model", "created": 1, "owned_by": "lapidary", "context_length": 8192,
                    "architecture": {"input_modalities": self.inputs, "output_modalities": ["text"]},
                    "capabilities": ["completion", "vision", "audio", "tools", "thinking"]}]})
            return
        name = "index.html" if path == "/" else path.removeprefix("/page/")
        for folder in FOLDERS:
            if "/" not in name and (folder / name).suffix in TYPES and (folder / name).is_file():
                return self.reply(handler, 200, TYPES[(folder / name).suffix], (folder / name).read_bytes())
        self.json(handler, {"error": {"message": f"no {path}", "type": "invalid_request_error", "code": "not_found"}}, 404)

    def post(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if self.refused(handler):
            return
        self.requests.append(body)
        if self.fail_next:
            (status, error), self.fail_next = self.fail_next, None
            return self.json(handler, {"error": error}, status)
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.end_headers()
        try:
            for event in self.events(body):
                data = event if isinstance(event, bytes) else f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode()
                # Cut inside the line, and inside characters: the page must not care.
                for i in range(0, len(data), 61):
                    handler.wfile.write(data[i:i + 61])
                handler.wfile.flush()
                time.sleep(self.pause)
        except (BrokenPipeError, ConnectionResetError):
            self.aborted += 1

    def events(self, body):
        def chunk(delta, finish=None):
            return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "demo", "usage": None,
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

        last = body["messages"][-1]
        content = last["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        yield b":\r\n\r\n"
        yield chunk({"role": "assistant", "content": ""})
        finish = "stop"
        if (body.get("chat_template_kwargs") or {}).get("enable_thinking"):
            for piece in words("The user asks something.\nI **count** the words: " + str(len(text.split()))):
                yield chunk({"reasoning_content": piece, "reasoning": piece})
        if last["role"] == "tool":
            answer = f"The answer is {last['content']}."
        elif text.startswith("call"):
            answer, finish = "", "tool_calls"
            names = text.split()[1:] or ["get_weather"]
            for i, name in enumerate(names):
                yield chunk({"tool_calls": [{"index": i, "id": f"call_{len(self.requests)}_{i}", "type": "function",
                                             "function": {"name": name, "arguments": ""}}]})
                for piece in words(TOOL_ARGUMENTS):
                    yield chunk({"tool_calls": [{"index": i, "function": {"arguments": piece}}]})
        elif text == "endless":
            for i in range(100000):
                yield chunk({"content": f"word{i} "})
                time.sleep(0.02)
            return
        elif text == "cut":
            yield chunk({"content": "half an ans"})
            return
        elif text == "fault":
            yield chunk({"content": "so far, "})
            yield {"error": {"message": "The engine gave up.", "type": "server_error", "code": "internal_error"}}
            return
        elif text.startswith("say "):
            answer = text[4:]
        else:
            answer = {"long": LONG, "hostile": HOSTILE, "huge": LONG * 60}.get(text, f"You said “{text}” – naïve café 🎉.")
        for piece in words(answer, 24 if len(answer) > 2000 else 6):
            yield chunk({"content": piece})
        yield chunk({}, finish)
        yield {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "demo", "choices": [], "usage": {
            "prompt_tokens": 120, "completion_tokens": 42, "total_tokens": 162, "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 9 if body.get("chat_template_kwargs", {}).get("enable_thinking") else 0,
                                          "accepted_prediction_tokens": 24, "rejected_prediction_tokens": 6}},
            "timings": {"cache_n": 64, "prompt_n": 56, "prompt_ms": 80.0, "predicted_n": 42, "predicted_ms": 1100.0,
                        "predicted_per_second": 38.2, "draft_n": 30, "draft_n_accepted": 24}}
        yield b"data: [DONE]\r\n\r\n"


if __name__ == "__main__":
    mock = PageMock()
    print(mock.url, flush=True)
    threading.Event().wait()
