"""Conversations with tools, thoughts and schemas over the chat surface: what histories hold, how answers come, what a
strict tool guarantees. Numbers in names are the cases of the API specification."""
import json
import socket

import jsonschema
import pytest

from conftest import TREE
from http_client import ask, base64_of
from serving import open_stream, read_all, serving

CHAT = "/v1/chat/completions"
TOOLS = json.loads((TREE / "examples/tools.json").read_text())
WEATHER = "What is the weather in Paris?"


def chat(base, *messages, expect=200, **fields):
    answer = ask(base + CHAT, {"messages": list(messages), "temperature": 0, **fields})
    assert answer.status == expect, answer.body
    return answer.json


def chunks(base, *messages, headers=None, **fields):
    body = ask(base + CHAT, {"messages": list(messages), "temperature": 0, "stream": True, **fields}, headers=headers).body.decode()
    events = [event for event in body.split("\n\n") if event.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    return [json.loads(event[6:]) for event in events[:-1]]


def joined(parts, name):
    return "".join(part["choices"][0]["delta"].get(name) or "" for part in parts if part["choices"])


def user(content):
    return {"role": "user", "content": content}


def history(**thought):
    made = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    return [user(WEATHER), {"role": "assistant", "tool_calls": [made], **thought},
            {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees and cloudy"}]


# B. Errors

def test_019_too_long_for_anthropic(server):
    body = {"model": "any", "max_tokens": 10, "messages": [user("red " * 20_000)]}
    for fields in ({}, {"stream": True}):
        answer = ask(server + "/v1/messages", {**body, **fields})
        assert answer.status == 400 and answer.json["error"]["type"] == "invalid_request_error"
        message = answer.json["error"]["message"]
        assert message.startswith("prompt is too long: ") and " tokens > " in message and message.endswith(" maximum")


# D. Chat, whole

def test_036_drafts_change_nothing(server):
    questions = ["Who are you?", WEATHER, "What can you do?", "Tell me about yourself."]
    with serving("--draft", "none") as base:
        for question in questions:
            for fields in ({}, {"tools": TOOLS}, {"ignore_eos": True, "max_tokens": 60}, {"temperature": 1.2, "seed": 7}):
                one, other = [chat(where, user(question), **fields)["choices"][0]["message"] for where in (server, base)]
                for message in (one, other):
                    for made in message.get("tool_calls", []):
                        del made["id"]
                assert one == other


def test_038_answers_without_content(server):
    for fields in ({}, {"content": None}, {"content": []}, {"content": ""}):
        messages = history(**fields)
        assert chat(server, *messages, tools=TOOLS)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_039_thoughts_of_a_tool_loop(server, name):
    def prompt(*messages):
        answer = ask(server + "/apply-template", {"messages": list(messages), "tools": TOOLS, "chat_template_kwargs": {"enable_thinking": True}})
        assert answer.status == 200, answer.body
        return answer.json["prompt"]
    text = prompt(*history(**{name: "They want the weather."}))
    assert text.count("They want the weather.") == 1
    before, after = text.split("They want the weather.")
    assert before.endswith("<|channel>thought\n") and after.lstrip("\n").startswith("<channel|>")


# E. Streams

def test_051_what_was_held_back_for_a_stop_string_comes_out(server):
    whole = chat(server, user("Who are you?"))["choices"][0]["message"]["content"]
    for held in (1, 2, 5):
        parts = chunks(server, user("Who are you?"), stop=[whole[-held:] + "never"])
        assert joined(parts, "content") == whole
        assert parts[-1]["choices"][0]["finish_reason"] == "stop" and parts[-1]["choices"][0]["delta"] == {}


def test_052_signs_of_life_while_a_prompt_is_read():
    # In double precision the shipped model takes seconds for this prompt.
    with serving("--device", "reference", "--sse-keepalive-s", 0.1) as base:
        content = user("hello world " * 300)
        with open_stream(base, CHAT, {"messages": [content], "stream": True, "max_tokens": 2}) as client:
            lines = [line for line in read_all(client).split(b"\n") if line.startswith(b":")]
        assert len(lines) >= 3 and not any(line.startswith(b": ping") for line in lines)
        # 138: Anthropic's clients know pings.
        with open_stream(base, "/v1/messages", {"model": "m", "messages": [user("large world " * 300)], "stream": True, "max_tokens": 2}) as client:
            text = read_all(client)
        assert text.index(b"event: message_start") < text.index(b"event: ping") < text.index(b"event: content_block_start")
        assert text.count(b"event: ping") >= 4


def test_053_and_058_events_survive_the_smallest_windows(server):
    body = {"messages": [user("Who are you?")], "temperature": 0, "stream": True}
    whole = chat(server, user("Who are you?"))["choices"][0]["message"]["content"]
    host, port = server.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect((host, int(port)))
        data = json.dumps(body).encode()
        client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(data)) + data)
        text = b""
        while not text.endswith(b"\r\n0\r\n\r\n"):
            text += client.recv(1)
    # Each chunk of the transfer coding holds whole events.
    rest, events = text.partition(b"\r\n\r\n")[2], []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        piece, rest = rest[:int(size, 16)], rest[int(size, 16) + 2:]
        assert piece.startswith(b"data: ") and piece.endswith(b"\n\n")
        events += piece.decode().split("\n\n")[:-1]
    assert events[-1] == "data: [DONE]" and joined([json.loads(event[6:]) for event in events[:-1]], "content") == whole


def test_054_streams_are_not_packed(server):
    answer = ask(server + CHAT, {"messages": [user("Hi")], "stream": True, "max_tokens": 3}, headers={"Accept-Encoding": "gzip, zstd, br"})
    assert answer.headers["Content-Encoding"] is None and answer.body.startswith(b"data: ")


def test_057_every_chunk_is_of_one_answer(server):
    parts = chunks(server, user("Who are you?"), model="lapidary-demo", stream_options={"include_usage": True})
    assert len({(part["id"], part["created"], part["model"], part["object"]) for part in parts}) == 1
    assert parts[0]["model"] == "lapidary-demo" and parts[0]["object"] == "chat.completion.chunk"


# F. Tools

def test_068_one_call_at_a_time(server):
    question = user("What is the weather in Paris and in Rome?")
    for fields in ({}, {"temperature": 1.5, "seed": 5}):
        answer = chat(server, question, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, **fields)
        assert len(answer["choices"][0]["message"]["tool_calls"]) == 1


STRICT = {"type": "object", "additionalProperties": False, "required": ["level", "place"],
          "properties": {"level": {"enum": ["low", "high", 3]}, "place": {"$ref": "#/$defs/place"}},
          "$defs": {"place": {"type": "object", "additionalProperties": False, "required": ["x"],
                              "properties": {"x": {"type": "integer", "minimum": -9, "maximum": 99}, "y": {"type": "boolean"}}}}}


def test_074_a_strict_tool_is_held_to_its_schema(server):
    tool = {"type": "function", "function": {"name": "put", "strict": True, "parameters": STRICT}}
    ended = 0
    for seed in range(25):
        answer = chat(server, user("Put it there."), tools=[tool], tool_choice="required", parallel_tool_calls=False, n=8, temperature=1.5,
                      seed=seed, max_tokens=120)
        for choice in answer["choices"]:
            for made in choice["message"].get("tool_calls", []) if choice["finish_reason"] == "tool_calls" else []:
                jsonschema.validate(json.loads(made["function"]["arguments"]), STRICT)
                ended += 1
    assert ended > 150
    wrong = {**STRICT, "properties": {**STRICT["properties"], "level": {"not": {"type": "string"}}}}
    error = chat(server, user("x"), tools=[{"type": "function", "function": {"name": "put", "strict": True, "parameters": wrong}}], expect=400)["error"]
    assert error["code"] == "invalid_function_parameters" and error["param"] == "tools"
    assert "tool put: schema #/properties/level/not" in error["message"]


def test_075_a_result_with_a_picture(server):
    messages = history()
    messages[-1]["content"] = [{"type": "text", "text": "Here it is."},
                               {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + base64_of(TREE / "examples/picture.jpg")}}]
    assert chat(server, *messages, tools=TOOLS, max_tokens=5)["usage"]["prompt_tokens_details"]["image_tokens"] > 0


# G. Thinking

def test_079_the_turn_after_a_result(server):
    fields = {"tools": TOOLS, "chat_template_kwargs": {"enable_thinking": True}}
    whole = chat(server, *history(reasoning="They want the weather."), **fields)["choices"][0]["message"]
    parts = chunks(server, *history(reasoning="They want the weather."), **fields)
    assert joined(parts, "content") == (whole["content"] or "")
    assert joined(parts, "reasoning") == joined(parts, "reasoning_content") == whole.get("reasoning", "")
    assert not any(marker in (whole["content"] or "") for marker in ("<|channel>", "<channel|>", "thought\n"))


def test_080_and_081_thinking_is_where_it_belongs(server):
    for thinking in (True, False):
        for question in ("Hello!", "Who are you?", WEATHER):
            fields = {"chat_template_kwargs": {"enable_thinking": thinking}}
            whole, parts = chat(server, user(question), **fields)["choices"][0]["message"], chunks(server, user(question), **fields)
            assert joined(parts, "content") == (whole["content"] or "") and joined(parts, "reasoning") == whole.get("reasoning", "")
            assert thinking or "reasoning" not in whole


# H. Structured output

def test_092_schemas_that_are_hard_to_compile(server):
    def schema(value):
        return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": value}}
    deep = {"type": "object"}
    for _ in range(30):
        deep = {"type": "object", "properties": {"a": deep, "b": {"type": "string"}}, "additionalProperties": False}
    tangled = {"anyOf": [{"type": "string", "pattern": "^(a+)+$"}, {"type": "string", "pattern": "^(a|aa)*b(c|cc|ccc)*$"}]}
    for value in ({"enum": [f"value number {i}" for i in range(10_000)]}, tangled, {"type": "string", "pattern": "^" + "(a|b|ab)*" * 40 + "$"}, deep):
        answer = ask(server + CHAT, {"messages": [user("x")], "response_format": schema(value), "max_tokens": 5})
        assert answer.status in (200, 400), answer.body
        assert answer.status == 200 or answer.json["error"]["code"] == "invalid_json_schema"
        assert chat(server, user("Hi"), max_tokens=2)["choices"]


# J. Ollama's own words

def test_017_and_158_errors_are_strings(server):
    answer = ask(server + "/api/chat", {"model": "lapidary-demo", "messages": "x"})
    assert answer.status == 400 and isinstance(answer.json["error"], str)
