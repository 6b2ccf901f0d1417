"""The chat page's own parts, run in the browser that runs the page: Markdown, the event stream's parser, WAV files."""
import base64
import io
import json
import random
import wave

import pytest
from page_browser import Page, start_browser
from page_mock import HOSTILE, LONG, PageMock


@pytest.fixture(scope="module")
def page(tree, tmp_path_factory):
    browser = start_browser(tree / "examples/recording.wav", tmp_path_factory.mktemp("downloads"))
    mock = PageMock()
    yield Page(browser, mock.url)
    browser.quit()
    mock.close()


def call(page, module, code, *arguments):
    """Runs `code`, the body of an async function of (module, ...arguments); returns its value."""
    value = page.js_async("""const [module, arguments_, done] = arguments;
        import(`/page/${module}`).then(async (m) => done(await run(m))).catch((e) => done({failed: String(e.stack)}));
        async function run(m) { %s }""" % code.replace("ARGUMENTS", "arguments_"), module, list(arguments))
    assert not (isinstance(value, dict) and "failed" in value), value["failed"]
    return value


RENDER = """const results = [];
    for (const [text, pieces, finish] of ARGUMENTS[0]) {
      const root = document.createElement("div");
      const markdown = new m.Markdown(root);
      let at = 0;
      for (const length of pieces) { markdown.append(text.slice(at, at + length)); at += length; }
      markdown.append(text.slice(at));
      if (finish) markdown.finish();
      for (const button of root.querySelectorAll("button")) button.remove();
      results.push(root.innerHTML.replace(/ target="_blank" rel="noopener noreferrer nofollow"/g, " rel"));
    }
    return results;"""


def render(page, texts, finish=True):
    """Each of (text, lengths of its pieces) as the page shows it, copy buttons left out."""
    return call(page, "markdown.js", RENDER, [[text, pieces, finish] for text, pieces in texts])


FENCE = '<figure class="code"><figcaption><span class="language">%s</span></figcaption><pre tabindex="0"><code>%s</code></pre></figure>'
TABLE = '<div class="table" tabindex="0" role="group" aria-label="Table"><table>%s</table></div>'

CASES = {
    "*a* **b** ***c*** _d_ __e__ ~~f~~ `g`":
        "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <strong>e</strong> <del>f</del> <code>g</code></p>",
    "2 * 3 * 4 and snake_case_name": "<p>2 * 3 * 4 and snake_case_name</p>",
    "*a **b*** c **d *e***": "<p><em>a <strong>b</strong></em> c <strong>d <em>e</em></strong></p>",
    "**「foo」**です": "<p><strong>「foo」</strong>です</p>",
    "**bold [link](https://x.y/z) more** end": '<p><strong>bold <a href="https://x.y/z" rel>link</a> more</strong> end</p>',
    "[a [b](http://i.j) c]": '<p>[a <a href="http://i.j/" rel>b</a> c]</p>',
    "see https://a.b/c_(d), (https://e.f/g).": '<p>see <a href="https://a.b/c_(d)" rel>https://a.b/c_(d)</a>, (<a href="https://e.f/g" rel>https://e.f/g</a>).</p>',
    "![alt](http://p.q/r.png)": '<p><a href="http://p.q/r.png" rel>alt</a></p>',
    "a\nb  \nc\\\nd": "<p>a<br>b<br>c<br>d</p>",
    "``a`b`` ` c `": "<p><code>a`b</code> <code>c</code></p>",
    "\\*not\\* &lt;b&gt; &#65; <b>no</b>": "<p>*not* &lt;b&gt; A &lt;b&gt;no&lt;/b&gt;</p>",
    "**a and `b": "<p>**a and `b</p>",
    "$a_1 * b_2$ for $5 and $10": '<p><span class="formula">$a_1 * b_2$</span> for $5 and $10</p>',
    "# h1\n## h2 ##\ntext\n---\n***": "<h1>h1</h1><h2>h2</h2><h2>text</h2><hr>",
    "#hash": "<p>#hash</p>",
    "- a\n- b\n    - c\n- d": "<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li><li><p>d</p></li></ul>",
    "1. a\n\n   p\n2. b\n  - c": '<ol class="loose"><li><p>a</p><p>p</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li></ol>',
    "7) x\n8) y\n- z": '<ol start="7"><li><p>x</p></li><li><p>y</p></li></ol><ul><li><p>z</p></li></ul>',
    "in\n1999. that was": "<p>in<br>1999. that was</p>",
    "- [ ] a\n- [x] b": '<ul><li class="task"><p><input type="checkbox" disabled="">a</p></li>'
                        '<li class="task"><p><input type="checkbox" disabled="" checked="">b</p></li></ul>',
    "> q\n> > r\n\nt": "<blockquote><p>q</p><blockquote><p>r</p></blockquote></blockquote><p>t</p>",
    "> - a\n>\n> b": "<blockquote><ul><li><p>a</p></li></ul><p>b</p></blockquote>",
    "```js\nlet *a* = 1;\n\n  b\n```\nc": FENCE % ("js", "let *a* = 1;\n\n  b\n") + "<p>c</p>",
    "- x\n  ~~~\n  ```\n  ~~~\n- y": "<ul><li><p>x</p>" + FENCE % ("", "```\n") + "</li><li><p>y</p></li></ul>",
    "```\nnever closed": FENCE % ("", "never closed\n"),
    "| a | b |\n|---|:-:|\n| 1 | `x|y` |\n| 2 |\n\nc": TABLE % (
        '<thead><tr><th>a</th><th class="center">b</th></tr></thead><tbody><tr><td>1</td><td class="center"><code>x|y</code></td></tr>'
        '<tr><td>2</td><td class="center"></td></tr></tbody>') + "<p>c</p>",
    "| no table |\nreally": "<p>| no table |<br>really</p>",
}


def test_markdown(page):
    for (text, expected), shown in zip(CASES.items(), render(page, [(text, []) for text in CASES])):
        assert shown == expected, text


UNFINISHED = {
    "**bo": "<p><strong>bo</strong></p>", "text *it": "<p>text <em>it</em></p>", "`co": "<p><code>co</code></p>", "a **": "<p>a </p>",
    "[link](http://x": '<p><span class="no-link">link</span></p>', "- ": "", "1.": "", "#": "", "``": "", "---": "", "x\n---": "<p>x</p>",
    "```py\nx = ": FENCE % ("py", "x = "), "```py\nx\n``": FENCE % ("py", "x\n"),
    "| a | b |": "<p>" + TABLE % "<thead><tr><th>a</th><th>b</th></tr></thead><tbody></tbody>" + "</p>",
}


def test_unfinished_markdown_looks_like_what_it_will_become(page):
    for (text, expected), shown in zip(UNFINISHED.items(), render(page, [(text, []) for text in UNFINISHED], finish=False)):
        assert shown == expected, text


def pieces_of(text, rng, most):
    lengths, left = [], len(text)
    while left > 0:
        lengths.append(min(left, rng.randint(1, most)))
        left -= lengths[-1]
    return lengths


def test_markdown_in_pieces_equals_markdown_at_once(page):
    rng = random.Random(5)
    soup = ["*", "**", "_", "`", "```", "~~", "[", "](", ")", "http://a.b", "\n", "\n\n", "- ", "1. ", "> ", "# ", "| ", "|", "---", " ",
            "  ", "    ", "word", "x", "\\", "<br>", "&amp;", "$", "!", "===", "- [ ] ", "\t", "é", "🎉"]
    texts = list(CASES) + [LONG, HOSTILE] + ["".join(rng.choices(soup, k=rng.randint(5, 60))) for _ in range(400)]
    at_once = render(page, [(text, []) for text in texts])
    for most in (1, 7):
        in_pieces = render(page, [(text, pieces_of(text, rng, most)) for text in texts])
        for text, whole, pieced in zip(texts, at_once, in_pieces):
            assert pieced == whole, text


def test_markdown_never_makes_anything_that_runs(page):
    allowed = {"P", "EM", "STRONG", "DEL", "CODE", "A", "SPAN", "BR", "H1", "H2", "H3", "H4", "H5", "H6", "UL", "OL", "LI", "INPUT", "HR", "PRE",
               "BLOCKQUOTE", "FIGURE", "FIGCAPTION", "DIV", "TABLE", "THEAD", "TBODY", "TR", "TH", "TD", "BUTTON", "svg", "path"}
    found = call(page, "markdown.js", """
        const root = document.createElement("div");
        document.body.append(root);
        m.show_markdown(root, ARGUMENTS[0]);
        const all = [...root.querySelectorAll("*")];
        const found = {
          tags: [...new Set(all.map((e) => e.tagName))],
          handlers: all.flatMap((e) => e.getAttributeNames()).filter((name) => name.startsWith("on") || name === "style"),
          links: all.map((e) => e.getAttribute("href") ?? e.getAttribute("src")).filter(Boolean),
        };
        root.remove();
        return found;""", HOSTILE)
    assert set(found["tags"]) <= allowed
    assert found["handlers"] == []
    assert found["links"] and all(link.startswith(("http://", "https://")) for link in found["links"]), found["links"]
    assert page.js("return window.pwned ?? null") is None


@pytest.mark.parametrize("unit, size", [("*a ", 3e4), ("[a](", 1e4), ("**", 3e4), ("`" * 3 + "a", 2e4), ("[", 5e4), ("_a_ ", 3e4), ("> ", 3e4),
                                        ("- ", 3e4), (" ", 1e5), ("![", 3e4), ("|", 3e4), ("<a", 3e4), ("https://a.b/)))", 5e3), ("$a", 3e4)])
def test_hostile_markdown_takes_no_more_time_than_it_is_long(page, unit, size):
    milliseconds = call(page, "markdown.js", """
        const root = document.createElement("div");
        const start = performance.now();
        m.show_markdown(root, ARGUMENTS[0]);
        return performance.now() - start;""", unit * int(size / 3) + "\nx" + unit * int(size / 3))
    assert milliseconds < 8000  # quadratic time would be minutes


def test_a_long_answer_changes_no_more_per_piece_than_a_short_one(page):
    # The same text again and again: what the document has to change for it must not grow with what stands before it.
    first, last, blocks_kept = call(page, "markdown.js", """
        const root = document.createElement("div");
        document.body.append(root);
        const markdown = new m.Markdown(root);
        const text = ARGUMENTS[0];
        const observer = new MutationObserver(() => {});
        observer.observe(root, { childList: true, subtree: true, characterData: true });
        const changes = (from, to) => {
          let count = 0;
          for (let i = from; i < to; i += 5) {
            markdown.append(text.slice(i, Math.min(to, i + 5)));
            for (const record of observer.takeRecords()) count += 1 + record.addedNodes.length + record.removedNodes.length;
          }
          return count;
        };
        const length = text.length / 60;
        changes(0, length);
        const first_block = root.firstChild;
        const first = changes(length, 6 * length);
        changes(6 * length, 55 * length);
        const last = changes(55 * length, 60 * length);
        const kept = root.firstChild === first_block;
        observer.disconnect();
        root.remove();
        return [first, last, kept];""", LONG * 60)
    assert blocks_kept
    assert first > 100 and last < 1.1 * first, f"{first} changes for the first pieces, {last} for the last"


def test_event_streams_cut_anywhere(page):
    stream = ("\ufeff: hello\n\ndata: one\n\n"
              "event: named\r\ndata:two\r\ndata: lines\r\n\r\n:\r\n\r\n"
              "data\rdata:  indented é🎉\r\rid: 7\nretry: 10\n\nunknown: x\ndata: {\"a\": \"b:c\"}\n\n"
              "data: never ended").encode()
    rng = random.Random(3)
    cuts = [[], [1] * len(stream)] + [[rng.randint(0, 9) for _ in range(40)] for _ in range(100)]
    all_events = call(page, "sse.js", """
        const bytes = Uint8Array.from(atob(ARGUMENTS[0]), (c) => c.charCodeAt(0));
        return ARGUMENTS[1].map((lengths) => {
          const events = [];
          const parser = new m.SseParser((data, name) => events.push([name, data]));
          let at = 0;
          for (const length of lengths) { parser.push(bytes.slice(at, at + length)); at += length; }
          parser.push(bytes.slice(at));
          return events;
        });""", base64.b64encode(stream).decode(), cuts)
    for events in all_events:
        assert events == [["message", "one"], ["named", "two\nlines"], ["message", "\n indented é🎉"], ["message", '{"a": "b:c"}']]


def test_wav_files(page):
    data = call(page, "wav.js", """
        const rate = 48000, samples = Float32Array.from({length: rate}, (_, i) => 0.5 * Math.sin(2 * Math.PI * 440 * i / rate));
        samples[0] = 2; samples[1] = -2;
        const same = new Uint8Array(m.encode_wav(samples, rate)), lower = new Uint8Array(m.encode_wav(await m.resample(samples, rate), m.kSoundRate));
        const text = (bytes) => { let s = ""; for (const b of bytes) s += String.fromCharCode(b); return btoa(s); };
        return [text(same), text(lower)];""")
    for encoded, rate in zip(data, (48000, 16000)):
        with wave.open(io.BytesIO(base64.b64decode(encoded))) as sound:
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate(), sound.getnframes()) == (1, 2, rate, rate)
            frames = sound.readframes(rate)
        values = [int.from_bytes(frames[i:i + 2], "little", signed=True) for i in range(0, len(frames), 2)]
        middle = values[rate // 4:rate // 4 * 3]
        crossings = sum(a < 0 <= b for a, b in zip(middle, middle[1:]))
        assert abs(crossings - 220) <= 1 and 16000 < max(middle) < 16700
        if rate == 48000:
            assert values[:2] == [32767, -32767]


def test_request_fields(page):
    fields = call(page, "settings.js", """
        const model = {thinking: true, inputs: new Set(["text", "image"])};
        const settings = {...m.kDefaults, temperature: "0.5", seed: "7", think: true, effort: "low", image_tokens: "560",
                          schema: '{"type": "object"}', tools: '{"name": "f"}'};
        const refused = (change) => { try { m.request_fields({...settings, ...change}, model); return null; } catch (e) { return e.message; } };
        return {all: m.request_fields(settings, model), none: m.request_fields(m.kDefaults, {thinking: false, inputs: new Set(["text"])}),
                refusals: [refused({temperature: "hot"}), refused({top_p: "2"}), refused({seed: "1.5"}), refused({schema: "[1]"}), refused({tools: "{"}),
                           refused({tools: "[{}]"})]};""")
    assert fields["all"] == {"temperature": 0.5, "seed": 7, "chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "low", "image_tokens": 560,
                             "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}}},
                             "tools": [{"type": "function", "function": {"name": "f"}}]}
    assert fields["none"] == {}
    assert all(fields["refusals"]), fields["refusals"]


def test_import_refuses_what_it_did_not_write(page):
    good = {"format": "lapidary-conversation", "version": 1, "conversation": {"title": "t", "leaf": "b", "messages": {
        "a": {"id": "a", "parent": None, "role": "user", "text": "hi", "attachments": [{"id": "x", "kind": "image", "name": "p", "type": "image/png"}]},
        "b": {"id": "b", "parent": "a", "role": "assistant", "text": "<b>", "thinking": 7, "calls": "no"}}},
        "blobs": {"x": "data:image/png;base64,iVBORw=="}}
    circle = json.loads(json.dumps(good))
    circle["conversation"]["messages"]["a"]["parent"] = "b"
    bad_blob = json.loads(json.dumps(good))
    bad_blob["blobs"]["x"] = "http://evil.example/"
    runs = json.loads(json.dumps(good).replace("image/png", "image/svg+xml"))
    runs["conversation"]["messages"]["a"]["attachments"].append({"id": "x", "kind": "text", "name": "h", "type": "text/html"})
    types = call(page, "transfer.js", """const {conversation, blobs} = m.import_conversation(ARGUMENTS[0]);
        return [blobs.map(([, blob]) => blob.type), Object.values(conversation.messages)[0].attachments.map((one) => one.type)];""", json.dumps(runs))
    assert types == [["", "text/plain"], ["", "text/plain"]]
    results = call(page, "transfer.js", """return ARGUMENTS[0].map((text) => {
        try {
          const {conversation, blobs} = m.import_conversation(text);
          return [Object.values(conversation.messages).map((one) => [one.role, one.text, one.thinking ?? null, one.attachments?.length ?? null]), blobs.length];
        } catch (error) { return error.message; } });""",
                   [json.dumps(good), json.dumps(circle), json.dumps(bad_blob), "{", "[]", "null", '{"format": "lapidary-conversation"}'])
    assert results[0] == [[["user", "hi", None, 1], ["assistant", "<b>", "", None]], 1]
    assert "circle" in results[1] and "data URL" in results[2] and "JSON" in results[3]
    assert all(isinstance(result, str) for result in results[1:])
