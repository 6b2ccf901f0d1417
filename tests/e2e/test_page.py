"""The chat page as a user handles it, against scripted replies: what is shown, what is sent, what is kept."""
import base64
import io
import json
import re
import wave

import pytest
from page_browser import Page, start_browser
from page_mock import TOOL_ARGUMENTS, PageMock

ESCAPE, ENTER, SHIFT, UP = "\ue00c", "\ue007", "\ue008", "\ue013"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tree, downloads):
    browser = start_browser(tree / "examples/recording.wav", downloads)
    yield browser
    browser.quit()


@pytest.fixture
def mock():
    mock = PageMock()
    yield mock
    mock.close()


@pytest.fixture
def page(browser, mock):
    page = Page(browser, mock.url)
    page.ready()
    yield page
    assert page.errors() == []


def parts(mock, message=-1):
    return mock.requests[-1]["messages"][message]["content"]


def test_the_empty_page_says_what_the_model_can_do(page, mock):
    text = page.text(".welcome")
    assert "demo is ready. It can see pictures, hear recordings, watch clips, think before it answers and call tools." in text
    assert len(page.all(".example")) == 4
    page.click(".example")
    page.wait_for_answers(1)
    assert [part["type"] for part in parts(mock)] == ["image_url", "text"] and parts(mock)[1]["text"] == "Describe the picture."


def test_what_a_model_lacks_is_not_offered(browser, mock, tree):
    mock.inputs = ["text"]
    page = Page(browser, mock.url)
    page.ready()
    shown = page.js("return [...document.querySelectorAll('.composer-bar > button:not([hidden])')].map((b) => b.title)")
    assert shown == ["Attach files", "Think before answering", "Send (Enter)"]
    assert len(page.all(".example")) == 1
    page.find("#files").send_keys(str(tree / "examples/picture.jpg"))
    page.wait(lambda: "does not take pictures" in (page.text(".toast") or ""))


def test_a_text_is_answered_and_measured(page, mock):
    assert page.send("Hello there") == "You said “Hello there” – naïve café 🎉."
    request = mock.requests[0]
    assert request["stream"] is True and request["stream_options"] == {"include_usage": True} and request["model"] == "demo"
    assert request["messages"] == [{"role": "user", "content": "Hello there"}]
    assert request["chat_template_kwargs"] == {"enable_thinking": False}
    speed = page.text(".speed")
    for piece in ("42 tokens", "38.2 tokens/s", "first after", "64 cached", "drafts 24 of 30", "context 2 %"):
        assert piece in speed
    assert page.send("And again") == "You said “And again” – naïve café 🎉."
    assert [message["role"] for message in mock.requests[1]["messages"]] == ["user", "assistant", "user"]
    assert page.js("return document.activeElement.id") == "prompt"
    assert page.browser.title == "Hello there · Lapidary"


def test_markdown_of_an_answer(page):
    page.send("long")
    assert [len(page.all(f".answer {tag}")) for tag in ("h2", "table", "ol", "ul", "figure.code", "blockquote", "a")] == [1, 1, 1, 1, 1, 1, 1]
    assert page.text(".answer figure .language") == "python"
    link = page.find(".answer a")
    assert "noopener" in link.get_attribute("rel") and link.get_attribute("target") == "_blank"


def test_hostile_markdown_does_nothing(page):
    page.send("hostile")
    assert page.js("return window.pwned ?? null") is None
    assert page.all(".answer script, .answer iframe, .answer img, .answer [onerror], .answer [onclick]") == []
    for href in page.js("return [...document.querySelectorAll('.answer a')].map((a) => a.href)"):
        assert href.startswith(("http:", "https:"))


def test_enter_and_shift_enter(page, mock):
    area = page.find("#prompt")
    area.send_keys("one", SHIFT + ENTER, "\ue000two")
    assert mock.requests == []
    area.send_keys(ENTER)
    page.wait_for_answers(1)
    assert parts(mock) == "one\ntwo"


@pytest.mark.parametrize("by", ["escape", "button"])
def test_stop_ends_the_request_and_keeps_what_came(page, mock, by):
    page.type_and_send("endless")
    page.wait(lambda: "word3" in (page.text(".answer") or ""))
    if by == "escape":
        page.press(ESCAPE, "#prompt")
    else:
        page.click("button.send.stop")
    page.wait_for_answers(1)
    page.wait(lambda: mock.aborted == 1)
    assert page.text(".notice") == "Stopped." and "word3" in page.text(".answer")
    assert page.send("on") == "You said “on” – naïve café 🎉."


def test_regenerate_keeps_both_answers(page, mock):
    page.send("Hello")
    page.click('button[title="Answer again"]')
    page.wait(lambda: len(mock.requests) == 2)
    page.wait_for_answers(1)
    assert mock.requests[0]["messages"] == mock.requests[1]["messages"]
    assert page.text(".versions span") == "2 / 2"
    page.click('button[title="Earlier version"]')
    page.wait(lambda: page.text(".versions span") == "1 / 2")


def test_edit_and_resend_makes_a_branch(page, mock):
    page.send("first")
    page.send("second")
    page.press(UP, "#prompt")  # in an empty field: edits the last message
    page.wait(lambda: page.find("textarea.edit"))
    page.press(ESCAPE, "textarea.edit")
    page.click('button[title="Edit and send again"]')
    page.fill("textarea.edit", "first, better")
    page.press(ENTER, "textarea.edit")
    page.wait(lambda: len(mock.requests) == 3)
    page.wait_for_answers(1)
    assert mock.requests[2]["messages"] == [{"role": "user", "content": "first, better"}]
    assert len(page.all(".message.user")) == 1
    page.click('.user button[title="Earlier version"]')
    page.wait(lambda: len(page.all(".message.user")) == 2)


def test_thinking_is_folded_with_time_and_count(page, mock):
    page.click("button.think")
    page.send("how many words")
    assert mock.requests[0]["chat_template_kwargs"] == {"enable_thinking": True}
    assert re.fullmatch(r"Thought for [\d.]+ s · 9 tokens", page.text(".thinking summary"))
    assert page.js("return document.querySelector('details.thinking').open") is False
    assert "I count the words: 3" in page.text(".thought") and page.find(".thought strong")
    assert "count the words" not in page.text(".answer")


def test_a_tool_call_is_shown_and_its_result_sent(page, mock):
    page.click("#open-settings")
    page.fill("#set-tools", '[{"name": "get_weather"}, {"name": "set_timer"}]')
    page.click('#settings button[title="Close"]')
    page.type_and_send("call get_weather set_timer")
    page.wait(lambda: page.find(".call-send"))
    assert [tool["function"]["name"] for tool in mock.requests[0]["tools"]] == ["get_weather", "set_timer"]
    assert [element.text for element in page.all(".call-name")] == ["get_weather", "set_timer"]
    assert page.all(".call pre")[0].text == json.dumps(json.loads(TOOL_ARGUMENTS), indent=2)
    boxes = page.all(".call textarea")
    boxes[0].send_keys("18 degrees")
    boxes[1].send_keys("started")
    page.click(".call-send button")
    page.wait_for_answers(2)
    assert page.text(".answer") == "The answer is started."
    user, call, first, second = mock.requests[1]["messages"]
    assert call["content"] is None and [one["function"]["arguments"] for one in call["tool_calls"]] == [TOOL_ARGUMENTS] * 2
    assert (first["role"], first["tool_call_id"], first["content"]) == ("tool", call["tool_calls"][0]["id"], "18 degrees")
    assert (second["tool_call_id"], second["content"]) == (call["tool_calls"][1]["id"], "started")


def test_a_call_that_nobody_answers_is_not_repeated(page, mock):
    page.send("call get_weather")
    page.send("never mind")
    assert [message["role"] for message in mock.requests[1]["messages"]] == ["user", "user"]


def test_an_answer_survives_a_closed_page(page, mock):
    mock.pause = 0.01  # a second and a half: what was said is kept now and then, not at every word
    page.type_and_send("endless")
    page.wait(lambda: "word150 " in page.text(".answer"), 60)
    page.browser.refresh()
    page.ready()
    assert "word50 " in page.text(".answer") and "before the answer was complete" in page.text(".notice")


def test_attachments_in_order_with_previews(page, mock, tree):
    for name in ("picture.jpg", "recording.wav", "video.mp4", "tools.json"):
        page.attach(tree / "examples" / name)
    assert page.text(".preview.audio .file-name") == "recording.wav"
    page.wait(lambda: page.text(".preview.audio small") == "0:01")
    page.attach(tree / "examples/picture.jpg")
    page.click(".preview:last-child button.remove")
    assert len(page.all(".preview")) == 4
    page.send("What is all this?")
    image, audio, video, text, prompt = parts(mock)
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")
    assert audio["input_audio"]["format"] == "wav" and audio["input_audio"]["data"].startswith("UklGR")
    assert video["video_url"]["url"].startswith("data:video/mp4;base64,")
    assert text["text"].startswith("tools.json:") and "get_weather" in text["text"]
    assert prompt == {"type": "text", "text": "What is all this?"}
    assert page.all(".preview") == [] and page.find(".message.user img")
    page.click("button.picture")
    assert page.find("#lightbox[open] img")
    page.press(ESCAPE)


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_files_by_paste_and_drop(page, mock, how):
    page.js("""const how = arguments[0];
        const transfer = new DataTransfer();
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 8;
        const bytes = Uint8Array.from(atob(canvas.toDataURL("image/png").split(",")[1]), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], "shot.png", {type: "image/png"}));
        const event = how === "paste" ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true, cancelable: true})
                                      : new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
        document.getElementById("prompt").dispatchEvent(event);""", how)
    page.wait(lambda: page.find(".preview img"))
    page.send("And this?")
    assert parts(mock)[0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_microphone(page, mock):
    page.click('button[title="Record"]')
    page.wait(lambda: (page.text(".recorder-time") or "").startswith("0:01"))
    page.click(".recorder .primary")
    page.wait(lambda: page.find(".preview.audio"))
    page.send("What was said?")
    with wave.open(io.BytesIO(base64.b64decode(parts(mock)[0]["input_audio"]["data"]))) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, 16000) and sound.getnframes() > 12000
        assert max(sound.readframes(16000)) > 0


def test_camera(page, mock):
    page.click('button[title="Take a picture"]')
    page.wait(lambda: page.js("return document.querySelector('#camera video')?.videoWidth > 0"))
    page.click(".shutter")
    page.wait(lambda: page.find(".preview img"))
    page.send("Who is this?")
    assert parts(mock)[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_settings_are_kept_and_sent(page, mock):
    page.click("#open-settings")
    for name, value in {"temperature": "0.3", "top_p": "0.9", "top_k": "40", "min_p": "0.05", "seed": "7", "max_tokens": "99", "system": "Be brief.",
                        "schema": '{"type": "object"}'}.items():
        page.fill(f"#set-{name}", value)
    page.js("const s = document.querySelector('#set-image_tokens'); s.value = '1120'; s.dispatchEvent(new Event('change'));")
    page.browser.refresh()
    page.ready()
    assert page.js("return [...document.querySelectorAll('.setting-chips .chip')].map((c) => c.textContent)") == ["Instructions", "Schema"]
    page.send("hi")
    request = mock.requests[0]
    wanted = {"temperature": 0.3, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": 7, "max_tokens": 99, "image_tokens": 1120}
    assert {name: request[name] for name in wanted} == wanted
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert request["response_format"]["json_schema"]["schema"] == {"type": "object"}
    page.click("#open-settings")
    page.fill("#set-temperature", "hot")
    assert page.text("#problem-temperature") == "Not a number"
    page.click('#settings button[title="Close"]')
    page.type_and_send("hi")
    assert "Temperature: Not a number." in page.text(".toast") and len(mock.requests) == 1
    assert page.js("return document.getElementById('prompt').value") == "hi"


def test_errors_say_what_the_server_said_and_can_be_retried(page, mock):
    mock.fail_next = (400, {"message": "This model's maximum context length is 8 tokens.", "type": "invalid_request_error", "code": "context_length_exceeded"})
    page.type_and_send("too long")
    page.wait(lambda: page.find(".error"))
    assert "maximum context length is 8 tokens" in page.text(".error p") and page.text(".error code") == "context_length_exceeded"
    page.click(".error .primary")
    page.wait(lambda: page.text(".answer") == "You said “too long” – naïve café 🎉.")
    page.wait_for_answers(1)
    assert page.all(".error, .versions") == []
    for text, told in (("cut", "The connection ended before the answer did."), ("fault", "The engine gave up.")):
        page.type_and_send(text)
        page.wait(lambda: page.text(".error p") == told)
        assert page.text(".answer").strip() in ("half an ans", "so far,")
    mock.close()
    page.type_and_send("anyone?")
    page.wait(lambda: "does not answer" in page.text(".error p"))


def test_the_key_is_asked_for_when_the_server_wants_one(browser, mock):
    mock.key = "sesame"
    page = Page(browser, mock.url)
    for key in ("wrong", "sesame"):
        page.wait(lambda: page.find("#key[open] #key-input"))
        page.find("#key-input").send_keys(key, ENTER)
    page.ready()
    assert page.send("hi").startswith("You said")
    mock.key = "changed"
    page.type_and_send("and now?")
    page.wait(lambda: page.find("#key[open] #key-input"))
    page.find("#key-input").send_keys("changed", ENTER)
    page.wait(lambda: page.text(".answer") == "You said “and now?” – naïve café 🎉.")


def test_conversations_are_kept_renamed_exported_imported_and_deleted(page, mock, tree, downloads):
    page.attach(tree / "examples/picture.jpg")
    page.send("Look at this")
    page.click("button.new")
    page.send("something else")
    page.browser.refresh()
    page.ready()
    assert page.browser.title == "something else · Lapidary"
    assert [row.text for row in page.all(".conversations .title")] == ["something else", "Look at this"]
    page.click(".conversations li:nth-child(2) .title")
    page.wait(lambda: page.find(".message.user img"))
    page.click('button[title^="Rename Look"]')
    page.fill("input.rename", "My picture")
    page.press(ENTER, "input.rename")
    page.wait(lambda: page.browser.title == "My picture · Lapidary")
    page.click('button[title="Export My picture"]')
    exported = downloads / "My-picture.json"
    page.wait(lambda: exported.exists() and exported.stat().st_size > 1000)
    page.click('button[title="Delete My picture"]')
    page.click("button.danger")
    page.wait(lambda: len(page.all(".conversations .title")) == 1)
    page.find("#import").send_keys(str(exported))
    page.wait(lambda: page.browser.title == "My picture · Lapidary")
    page.wait(lambda: page.js("return document.querySelector('.message.user img')?.naturalWidth === 512"))
    page.send("still there?")
    assert mock.requests[-1]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")
    exported.unlink()


def test_another_conversation_can_be_read_while_an_answer_arrives(page, mock):
    page.send("first")
    page.click("button.new")
    page.type_and_send("endless")
    page.wait(lambda: "word5" in (page.text(".answer") or ""))
    page.click(".conversations li:nth-child(2) .title")
    page.wait(lambda: page.text(".answer") == "You said “first” – naïve café 🎉.")
    assert page.find("button.send:not(.stop)")
    page.click(".conversations li:nth-child(1) .title")
    page.wait(lambda: "word20" in page.text(".answer"))
    assert page.text(".answer").startswith("word0 word1 word2 ")
    page.click("button.send.stop")
    page.wait_for_answers(1)


def test_scrolling_up_is_respected(page, mock):
    page.send("long")
    page.type_and_send("endless")
    page.wait(lambda: "word400" in page.text(".answer"), 60)
    distance = "const s = document.getElementById('scroller'); return s.scrollHeight - s.clientHeight - s.scrollTop"
    assert page.js(distance) < 60
    page.js("document.getElementById('scroller').scrollTop -= 300")
    page.wait(lambda: page.find("#jump:not([hidden])"))
    top = page.js("return document.getElementById('scroller').scrollTop")
    page.wait(lambda: "word500" in page.text(".answer"), 60)
    assert page.js("return document.getElementById('scroller').scrollTop") == top
    page.click("#jump")
    page.wait(lambda: page.js(distance) < 60)
    page.press(ESCAPE, "#prompt")
    page.wait_for_answers(2)


def test_no_width_scrolls_sideways(page):
    overflow = "return document.documentElement.scrollWidth - innerWidth"
    widths = (320, 390, 768, 1280, 1920)

    def resize(width):
        page.resize(width, 740, touch=width < 500)
        page.wait(lambda: page.js("return innerWidth") == width)

    for width in widths:
        resize(width)
        assert page.js(overflow) <= 0, width
    page.send("long")
    page.send("call get_weather")
    page.send("say " + "unbreakable" * 20 + " `" + "code" * 50 + "` https://example.org/" + "path/" * 30)
    for width in widths:
        resize(width)
        page.click("#open-settings")
        assert page.js(overflow) <= 0, width
        page.click('#settings button[title="Close"]')
        beyond = page.js("""const inside = (e) => e.closest("pre, .table, .unseen, #sidebar");
            return [...document.querySelectorAll("#main *")].filter((e) => !inside(e) && e.getBoundingClientRect().right > innerWidth + 1)
                .map((e) => e.outerHTML.slice(0, 100))""")
        assert beyond == [], width


def test_every_control_has_a_name_and_themes_switch(page):
    page.send("long")
    page.click("#open-settings")
    unnamed = page.js("""return [...document.querySelectorAll("button, input:not([hidden]), select, textarea")].filter((e) =>
        !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length || e.closest("li.task"))).map((e) => e.outerHTML)""")
    assert unnamed == []
    colour = "return getComputedStyle(document.body).backgroundColor"
    page.click('#settings button[title="Close"]')
    before = page.js(colour)
    page.click("#theme")
    after = page.js(colour)
    assert before != after
    page.browser.refresh()
    page.ready()
    assert page.js(colour) == after
    assert page.js("return document.getElementById('announcer').getAttribute('aria-live')") == "polite"


def test_a_very_long_answer_stays_quick(page):
    page.type_and_send("huge")
    page.wait_for_answers(1, 120)
    assert len(page.all(".answer h2")) == 60
    assert page.js("return document.querySelectorAll('.answer table').length") == 60
