"""A tool call that max_tokens cuts off, on every surface: the same whole and streamed, and never taken for a whole one."""
import json
import urllib.request

import anthropic
import pytest

TOOL = {"name": "get_weather", "description": "Get the current weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "The city"}}, "required": ["city"]}}
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
LENGTHS = range(1, 16)


def ask(base, path, body):
    request = urllib.request.Request(base + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("tokens", LENGTHS)
def test_chat_completions(server, tokens):
    body = {"messages": ASK, "tools": [{"type": "function", "function": TOOL}], "tool_choice": "required", "temperature": 0, "max_tokens": tokens}
    choice = json.loads(ask(server, "/v1/chat/completions", body))["choices"][0]
    streamed, reason = {}, None
    for line in ask(server, "/v1/chat/completions", {**body, "stream": True}).split("\n\n"):
        if not line.startswith("data: {"):
            continue
        part = json.loads(line[6:])["choices"][0]
        reason = part["finish_reason"] or reason
        for call in part["delta"].get("tool_calls", []):
            streamed[call["index"]] = streamed.get(call["index"], "") + call["function"]["arguments"]
    said = [call["function"]["arguments"] for call in choice["message"].get("tool_calls", [])]
    assert said == list(streamed.values()) and reason == choice["finish_reason"]
    whole = '{"city":"Paris"}'
    assert all(whole.startswith(text) for text in said)
    assert reason == "length" or said == [whole]


@pytest.mark.parametrize("tokens", LENGTHS)
def test_messages(server, tokens):
    client = anthropic.Anthropic(base_url=server, api_key="none", max_retries=0)
    asked = {"model": "lapidary-demo", "max_tokens": tokens, "messages": ASK, "tool_choice": {"type": "any"}, "extra_body": {"temperature": 0},
             "tools": [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}]}
    message = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    calls = lambda answer: [(block.name, block.input) for block in answer.content if block.type == "tool_use"]
    assert calls(message) == calls(streamed) and message.stop_reason == streamed.stop_reason
    if message.stop_reason == "tool_use":
        assert calls(message) == [("get_weather", {"city": "Paris"})]
    else:
        assert message.stop_reason == "max_tokens"


@pytest.mark.parametrize("tokens", LENGTHS)
def test_ollama(server, tokens):
    body = {"model": "lapidary-demo", "messages": ASK, "tools": [{"type": "function", "function": TOOL}], "think": False,
            "options": {"temperature": 0, "num_predict": tokens}}
    answer = json.loads(ask(server, "/api/chat", {**body, "stream": False}))
    calls, done = [], None
    for line in ask(server, "/api/chat", body).splitlines():
        part = json.loads(line)
        calls += part["message"].get("tool_calls", [])
        done = part.get("done_reason", done)
    functions = lambda found: [call["function"] for call in found]
    assert functions(answer["message"].get("tool_calls", [])) == functions(calls) and answer["done_reason"] == done
    # Clients run what they see: only whole calls are shown.
    assert all(function["arguments"] == {"city": "Paris"} for function in functions(calls))
    assert calls or done == "length"


@pytest.mark.parametrize("tokens", (1, 4, 6, 8, 10, 12))
def test_responses(server, tokens):
    body = {"input": ASK[0]["content"], "tools": [{"type": "function", **TOOL}], "tool_choice": "required", "temperature": 0, "max_output_tokens": tokens}
    response = json.loads(ask(server, "/v1/responses", body))
    events = [json.loads(block.split("data: ", 1)[1]) for block in ask(server, "/v1/responses", {**body, "stream": True}).split("\n\n") if "data: {" in block]
    last = events[-1]["response"]
    items = lambda found: [(item["type"], item["status"], item.get("arguments")) for item in found["output"]]
    assert items(response) == items(last) and response["status"] == last["status"]
    if response["status"] == "incomplete":
        assert all(status == "incomplete" for _, status, _ in items(response)[-1:])
