"""The chat page as `lapidary serve` hands it out, with the shipped model behind it: what it answers is what the program
answers on the command line."""
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
from conftest import PROGRAM
from page_browser import Page, start_browser

ENTER, ESCAPE = "\ue007", "\ue00c"


def get(server, path, **headers):
    request = urllib.request.Request(server + path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.fixture
def locked_server(lapidary):
    """A server that wants the key "sesame"."""
    process = subprocess.Popen([str(PROGRAM), "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, env={**os.environ, "LAPIDARY_API_KEY": "sesame"})
    yield process.stdout.readline().removeprefix("listening on ").strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def browser(tree, tmp_path_factory):
    browser = start_browser(tree / "examples/recording.wav", tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, server):
    page = Page(browser, server + "/")
    page.ready()
    settings(page, temperature="0")
    yield page
    assert page.errors() == []


def settings(page, **values):
    page.click("#open-settings")
    for name, value in values.items():
        page.fill(f"#set-{name}", value)
    page.click('#settings button[title="Close"]')


def answer_of(lapidary, *arguments):
    return lapidary.json("run", "--temperature", 0, *arguments)


def test_the_page_is_handed_out_with_its_policy(server):
    status, headers, body = get(server, "/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8" and b"<title>Lapidary</title>" in body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    for path in re.findall(rb'"(/page/[^"]+)"', body):
        status, headers, _ = get(server, path.decode())
        assert status == 200 and headers["ETag"].startswith('"')
        status, _, body = get(server, path.decode(), If_None_Match=headers["ETag"])
        assert status == 304 and body == b""
    status, headers, body = get(server, "/", Accept="*/*")
    assert status == 200 and headers["Content-Type"].startswith("text/plain") and body == b"Ollama is running"
    for path in ("/page/nothing.js", "/page/", "/page/../app.js", "/page/..%2fapp.js"):
        assert get(server, path)[0] == 404


def test_a_text(page, lapidary):
    assert page.send("Who are you?").strip() == answer_of(lapidary, "Who are you?")["text"]
    assert re.search(r"\d+ tokens?.*tokens/s.*first after", page.text(".speed"))


def test_a_picture_a_recording_and_a_video(page, lapidary, tree):
    for option, name, prompt in (("--image", "picture.jpg", "Describe the picture."), ("--audio", "recording.wav", "Transcribe the recording."),
                                 ("--video", "video.mp4", "What happens in the video?")):
        page.click("#new" if not page.find("button.new") else "button.new")
        page.attach(tree / "examples" / name)
        assert page.send(prompt).strip() == answer_of(lapidary, option, tree / "examples" / name, prompt)["text"]


def test_what_the_microphone_heard(page):
    page.click('button[title="Record"]')
    page.wait(lambda: (page.text(".recorder-time") or "").startswith("0:02"))
    page.click(".recorder .primary")
    page.wait(lambda: page.find(".preview.audio"))
    assert page.send("Transcribe the recording.").strip() != ""
    assert page.all(".error") == []


def test_thinking(page, lapidary):
    page.click("button.think")
    answer = page.send("Who are you?")
    expected = answer_of(lapidary, "--think", "Who are you?")
    assert page.text(".thought").strip() == expected["thought"].strip() != ""
    assert answer.strip() == expected["text"]
    assert re.fullmatch(r"Thought for [\d.]+ s · \d+ tokens", page.text(".thinking summary"))


def test_a_tool_call_and_its_result(page, lapidary, tree):
    tools = tree / "examples/tools.json"
    settings(page, tools=tools.read_text())
    prompt = "What is the weather like in Bergen?"
    page.type_and_send(prompt)
    page.wait(lambda: page.find(".call-send"), 60)
    expected = answer_of(lapidary, "--tools", tools, prompt)["tool_calls"][0]
    assert page.text(".call-name") == expected["name"]
    assert json.loads(page.text(".call pre")) == expected["arguments"]
    page.find(".call textarea").send_keys("18 degrees and cloudy", ENTER)
    page.wait_for_answers(2)
    assert "18 degrees and cloudy" in page.text(".answer")


def test_stop_and_regenerate(page, server):
    # The shipped model's answers are over at once; this one goes on until it is stopped.
    page.js("""const plain = window.fetch;
        window.fetch = (path, options) => plain(path, options?.body ?
            {...options, body: JSON.stringify({...JSON.parse(options.body), ignore_eos: true, max_tokens: 8000})} : options);""")
    page.type_and_send("Who are you?")
    page.wait(lambda: page.text(".answer"), 60)
    page.press(ESCAPE, "#prompt")
    page.wait_for_answers(1)
    assert page.text(".notice") == "Stopped." and page.text(".answer") != ""

    def running():
        return int(re.search(rb"^vllm:num_requests_running\S* (\d+)", get(server, "/metrics")[2], re.M).group(1))

    page.wait(lambda: running() == 0, 30)
    page.browser.refresh()
    page.ready()
    page.click('button[title="Answer again"]')
    page.wait_for_answers(1)
    page.wait(lambda: page.text(".versions span") == "2 / 2", 60)
    assert page.all(".notice") == []


def test_the_server_refuses_in_its_own_words(page):
    settings(page, schema='{"type": "nonsense"}')
    page.type_and_send("hi")
    page.wait(lambda: page.find(".error"))
    assert page.text(".error code") == "invalid_json_schema" and len(page.text(".error p")) > 20


def test_the_key_is_asked_for(browser, locked_server, lapidary):
    page = Page(browser, locked_server + "/")
    page.wait(lambda: page.find("#key[open] #key-input"))
    page.find("#key-input").send_keys("sesame", ENTER)
    page.ready()
    settings(page, temperature="0")
    assert page.send("Who are you?").strip() == answer_of(lapidary, "Who are you?")["text"]
