"""The Ollama surface with its own client, and over plain HTTP. Numbers in names are cases of the API's checklist."""
import json
import time

import ollama
import pytest
from http_client import ask, base64_of
from serving import serving

MODEL = "lapidary-demo"


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(host=server)


@pytest.fixture(scope="module")
def tools(tree):
    return json.loads((tree / "examples/tools.json").read_text())


def chat(content="Who are you?", **fields):
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    return {"model": MODEL, "messages": messages, "think": False, "options": {"temperature": 0, "num_predict": 60},
            **fields}


def test_150_streams_unless_told_otherwise(server):
    answer = ask(server + "/api/chat", chat())
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = answer.lines
    assert all(line["model"] == MODEL and line["created_at"].endswith("Z") and "error" not in line for line in lines)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    last = lines[-1]
    assert last["done_reason"] == "stop" and last["message"] == {"role": "assistant", "content": ""}
    assert last["prompt_eval_count"] > 0 and last["eval_count"] > 0
    assert last["total_duration"] > last["eval_duration"] > 1000
    assert "load_duration" in last and "prompt_eval_duration" in last


def test_151_client(client):
    whole = client.chat(**chat())
    parts = list(client.chat(**chat(), stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content != ""
    assert parts[-1].done and not any(part.done for part in parts[:-1]) and len(parts) > 2
    assert whole.done_reason == "stop" and whole.eval_count == parts[-1].eval_count


def test_152_thinking(client):
    for think in (None, True, False, "low"):
        answer = client.chat(**chat("What is 2 + 2?", think=think, options={"temperature": 0, "num_predict": 300}))
        assert "<|channel>" not in (answer.message.content or "")
        if think is False:
            assert answer.message.thinking is None


def test_153_tools_round_trip(client, tools):
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = client.chat(**chat(messages, tools=tools))
    call = first.message.tool_calls[0]
    assert call.function.name == "get_weather" and call.function.arguments["city"] == "Paris"
    assert first.done_reason == "stop"
    messages += [first.message, {"role": "tool", "tool_name": "get_weather", "content": "sunny, 21 degrees"}]
    second = client.chat(**chat(messages, tools=tools))
    assert second.message.content and not second.message.tool_calls
    streamed = [part for part in client.chat(**chat(messages[:1], tools=tools), stream=True)
                if part.message.tool_calls]
    assert len(streamed) == 1 and streamed[0].message.tool_calls[0].function.arguments == call.function.arguments


def test_153_calls_are_objects(server, tools):
    answer = ask(server + "/api/chat", chat("What is the weather in Paris?", tools=tools, stream=False)).json
    call = answer["message"]["tool_calls"][0]
    assert call["id"].startswith("call_") and call["function"]["index"] == 0
    assert call["function"]["arguments"] == {"city": "Paris"}


def test_154_format(client):
    free = client.chat(**chat("A city as JSON.", format="json", options={"temperature": 0, "num_predict": 100}))
    assert free.message.content.startswith("{")
    if free.done_reason == "stop":
        assert isinstance(json.loads(free.message.content), dict)
    schema = {"type": "object", "properties": {"size": {"type": "integer", "minimum": 0, "maximum": 99}},
              "required": ["size"], "additionalProperties": False}
    for stream in (False, True):
        answer = client.chat(**chat("A number.", format=schema, think=None), stream=stream)
        text = "".join(part.message.content for part in answer) if stream else answer.message.content
        assert set(json.loads(text)) == {"size"}


def test_155_options(server):
    def numbers(options, **fields):
        answer = ask(server + "/api/chat", chat(stream=False, options=options, **fields))
        assert answer.status == 200, answer.body
        return answer.json

    greedy = numbers({"temperature": "0", "num_predict": "5", "num_ctx": 4096, "nonsense": [1]})
    assert greedy["eval_count"] == 5 and greedy["done_reason"] == "length"
    assert numbers({"temperature": "0.7", "seed": 7, "num_predict": -1, "top_k": 1})["done_reason"] == "stop"
    assert ask(server + "/api/chat", chat(options={"temperature": "hot"})).status == 400
    assert ask(server + "/api/chat", chat(keep_alive="1h30m", options={"num_predict": 1})).status == 200
    assert ask(server + "/api/chat", chat(keep_alive="soon")).status == 400


def test_logprobs(server):
    answer = ask(server + "/api/chat", chat(stream=False, logprobs=True, top_logprobs=2)).json
    assert "".join(entry["token"] for entry in answer["logprobs"]) == answer["message"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in answer["logprobs"])
    assert ask(server + "/api/chat", chat(logprobs=True, top_logprobs=21)).status == 400


def test_picture_and_sound(client, tree):
    plain = client.chat(**chat("Describe the picture."))
    for file in ("picture.jpg", "recording.wav", "video.mp4"):
        answer = client.chat(**chat([{"role": "user", "content": "What is it?",
                                      "images": [str(tree / "examples" / file)]}]))
        assert answer.prompt_eval_count > plain.prompt_eval_count + 10 and answer.message.content


def test_156_157_models(client, server):
    for key in ("model", "name"):
        shown = ask(server + "/api/show", {key: MODEL}).json
        assert {"model_info", "details", "capabilities", "parameters", "template", "modified_at"} <= set(shown)
        assert any(line.startswith("num_ctx ") for line in shown["parameters"].split("\n"))
        assert {"completion", "tools", "thinking", "vision", "audio"} == set(shown["capabilities"])
    assert client.show(MODEL).modelinfo["general.architecture"] == "gemma4"
    copilot = ask(server + "/api/show", {"model": MODEL + ":latest"}, headers={"User-Agent": "GitHubCopilotChat/0.30"})
    assert copilot.json["model_info"]["general.basename"] == MODEL + ":latest"
    listed = client.list().models
    assert listed[0].model == MODEL + ":latest" and listed[0].size > 0
    running = client.ps().models
    assert running[0].model == MODEL + ":latest" and running[0].context_length > 0
    for path in ("/api/version", "/api/tags"):
        head = ask(server + path, method="HEAD")
        assert head.status == 200 and head.body == b""
    assert len(ask(server + "/api/version").json["version"].split(".")) == 3


def test_158_errors(server, client):
    with serving("--any-model", "off") as strict:
        unknown = ask(strict + "/api/chat", chat(model="llama3"))
        assert unknown.status == 404 and unknown.json == {"error": "model 'llama3' not found"}
        with pytest.raises(ollama.ResponseError) as refused:
            ollama.Client(host=strict).chat(model="llama3", messages=[{"role": "user", "content": "x"}])
        assert refused.value.status_code == 404
    missing = ask(server + "/api/chat", {"messages": []})
    assert missing.status == 400 and missing.json == {"error": "model is required"}
    broken = ask(server + "/api/chat", b"{")
    assert broken.status == 400 and isinstance(broken.json["error"], str)
    assert isinstance(ask(server + "/api/nothing").json["error"], str)
    assert client.chat(model="llama3", messages=[{"role": "user", "content": "Hi"}], options={"num_predict": 2}).eval_count == 2
    long = ask(server + "/api/chat", chat("word " * 200_000))
    assert long.status == 400 and "context length" in long.json["error"]


def test_history_is_left_out_only_when_asked(server):
    context = int(ask(server + "/api/show", {"model": MODEL}).json["model_info"]["gemma4.context_length"])
    turn = [{"role": "user", "content": "word " * (context // 3)}, {"role": "assistant", "content": "Yes."}]
    asked = chat(turn * 4 + [{"role": "user", "content": "Who are you?"}], stream=False,
                 options={"temperature": 0, "num_predict": 5})
    assert ask(server + "/api/chat", asked).status == 400
    answer = ask(server + "/api/chat", {**asked, "truncate": True})
    assert answer.status == 200 and 0 < answer.json["prompt_eval_count"] < context


def test_159_generate(client, server, tree):
    answer = client.generate(model=MODEL, prompt="Who are you?", think=False, options={"temperature": 0})
    same = client.chat(**chat())
    assert answer.response == same.message.content
    streamed = list(client.generate(model=MODEL, prompt="Who are you?", think=False, options={"temperature": 0},
                                    stream=True))
    assert "".join(part.response for part in streamed) == answer.response and streamed[-1].done
    raw = client.generate(model=MODEL, prompt="<|turn>user\nWho are you?<turn|>\n<|turn>model\n", raw=True,
                          options={"temperature": 0, "num_predict": 60})
    assert raw.response == answer.response
    seen = client.generate(model=MODEL, prompt="What is it?", images=[str(tree / "examples/picture.jpg")],
                           context=[1, 2], think=False, options={"num_predict": 5})
    assert seen.prompt_eval_count > 50
    loaded = ask(server + "/api/generate", {"model": MODEL}).json
    assert loaded["done"] and loaded["done_reason"] == "load" and loaded["response"] == ""
    unloaded = ask(server + "/api/chat", {"model": MODEL, "keep_alive": 0}).json
    assert unloaded["done_reason"] == "unload" and unloaded["message"]["content"] == ""
    assert ask(server + "/api/generate", {"model": MODEL, "prompt": "a", "suffix": "b"}).status == 400


def test_pull_and_what_is_not_offered(client, server):
    assert client.pull(MODEL).status == "success"
    assert [part.status for part in client.pull(MODEL, stream=True)][-1] == "success"
    assert ask(server + "/api/pull", {"name": "llama3"}).status == 404
    for path, method in (("/api/create", "POST"), ("/api/push", "POST"), ("/api/copy", "POST"),
                         ("/api/delete", "DELETE"), ("/api/blobs/sha256:0", "POST"), ("/api/embed", "POST")):
        answer = ask(server + path, {}, method=method)
        assert answer.status == 501 and answer.json == {"error": "not supported by this server"}, path
    assert ask(server + "/api/blobs/sha256:0", method="HEAD").status == 501


def test_cancel_in_mid_stream(client, server):
    parts = client.chat(**chat("Count.", options={"num_predict": -2, "temperature": 2, "stop": []}), stream=True)
    next(parts)
    parts.close()
    for _ in range(100):
        if ask(server + "/load").json["server_load"] == 0:
            return
        time.sleep(0.1)
    raise AssertionError("the answer goes on without its client")
