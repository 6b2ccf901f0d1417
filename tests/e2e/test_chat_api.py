"""The OpenAI chat surface, by the openai package and by plain HTTP. Numbers in names are the cases of the API specification."""
import base64
import json
import re
import socket
import time
import urllib.error
import urllib.request

import openai
import pydantic
import pytest


def call(server, path, body=None, *, method=None, headers=None, raw=None, timeout=120):
    """Status, headers, text of one request."""
    data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
    request = urllib.request.Request(server + path, data=data, method=method or ("GET" if data is None else "POST"),
                                     headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read().decode()


def post(server, path, body, **keywords):
    status, _, text = call(server, path, body, **keywords)
    return status, json.loads(text)


def chat(server, content="Who are you?", expect=200, **fields):
    messages = fields.pop("messages", None) or [{"role": "user", "content": content}]
    status, json_body = post(server, "/v1/chat/completions", {"messages": messages, "temperature": 0, **fields})
    assert status == expect, json_body
    return json_body


def stream(server, content="Who are you?", **fields):
    """The chunks of a streamed answer, after checking its frame."""
    messages = fields.pop("messages", None) or [{"role": "user", "content": content}]
    status, headers, text = call(server, "/v1/chat/completions",
                                 {"messages": messages, "temperature": 0, "stream": True, **fields})
    assert status == 200, text
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8" and headers["Cache-Control"] == "no-cache"
    events = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    assert events[-1] == "data: [DONE]"
    return [json.loads(event[6:]) for event in events[:-1]]


def image_part(tree, **fields):
    data = base64.b64encode((tree / "examples/picture.jpg").read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + data, **fields}}


def audio_part(tree):
    return {"type": "input_audio", "input_audio": {
        "data": base64.b64encode((tree / "examples/recording.wav").read_bytes()).decode(), "format": "wav"}}


@pytest.fixture(scope="module")
def tools(tree):
    return json.loads((tree / "examples/tools.json").read_text())


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server + "/v1", api_key="none", max_retries=0)


WEATHER = "What is the weather in Paris?"


# A. Transport

def test_001_no_content_type(server):
    status, _, text = call(server, "/v1/chat/completions", raw=b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2}',
                           headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 200 and json.loads(text)["choices"]


def test_002_bodies(server):
    body = b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2}'
    assert call(server, "/v1/chat/completions", raw=b"\xef\xbb\xbf" + body)[0] == 200
    for broken in (b'{"a":', b"", b"[1]", b'{"messages":[{"role":"user","content":"\xff"}]}'):
        status, _, text = call(server, "/v1/chat/completions", raw=broken)
        assert status == 400 and json.loads(text)["error"]["code"] == "invalid_json", broken


def test_009_methods_and_paths(server):
    status, headers, text = call(server, "/v1/chat/completions")
    assert status == 405 and "POST" in headers["Allow"] and json.loads(text)["error"]["code"] == "method_not_allowed"
    assert json.loads(call(server, "/v1/x")[2])["error"]["code"] == "not_found"
    assert isinstance(json.loads(call(server, "/api/x")[2])["error"], str)
    assert json.loads(call(server, "/v1/messages/x")[2])["type"] == "error"


def test_010_model_paths(server):
    name = json.loads(call(server, "/v1/models")[2])["data"][0]["id"]
    for path in (f"/v1/models/{name}", f"/v1/models/google%2F{name}", f"/v1/models/google/{name}", f"//v1//models/{name}/",
                 f"/v1/v1/models/{name}"):
        status, _, text = call(server, path)
        assert status == 200 and json.loads(text)["root"] == name, path


def test_011_request_ids(server):
    for path, body in (("/v1/models", None), ("/nowhere", None), ("/v1/chat/completions", {"messages": []})):
        headers = call(server, path, body)[1]
        assert headers["x-request-id"] == headers["request-id"] and len(headers["x-request-id"]) >= 24
    assert call(server, "/v1/models", headers={"X-Request-Id": "mine-1"})[1]["x-request-id"] == "mine-1"


def test_013_null_is_absent(server):
    fields = ["model", "audio", "frequency_penalty", "presence_penalty", "function_call", "functions", "logit_bias", "logprobs",
              "top_logprobs", "max_completion_tokens", "max_tokens", "metadata", "modalities", "n", "parallel_tool_calls",
              "reasoning_effort", "response_format", "seed", "stop", "store", "stream", "stream_options", "temperature", "top_p",
              "tool_choice", "tools", "user", "top_k", "min_p", "structured_outputs", "chat_template_kwargs", "min_tokens"]
    body = {"messages": [{"role": "user", "content": "Hi"}], **dict.fromkeys(fields)}
    assert post(server, "/v1/chat/completions", body)[0] == 200
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": [], "stop": [], "logit_bias": {}, "metadata": {}}
    assert post(server, "/v1/chat/completions", body)[0] == 200


def test_014_unknown_fields(server):
    assert chat(server, max_tokens=2, **{f"unknown_{i}": {"x": i} for i in range(30)})["choices"]


# B. Errors

@pytest.mark.parametrize("fields, code, param", [
    ({"temperature": "hot"}, "invalid_type", "temperature"),
    ({"temperature": -1}, "invalid_value", "temperature"),
    ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"max_tokens": 1.5}, "invalid_type", "max_tokens"),
    ({"n": 99}, "invalid_value", "n"),
    ({"top_logprobs": 21, "logprobs": True}, "invalid_value", "top_logprobs"),
    ({"top_logprobs": 2}, "invalid_value", "top_logprobs"),
    ({"logit_bias": {"5": 101}}, "invalid_value", "logit_bias"),
    ({"stop": ["x"] * 65}, "invalid_value", "stop"),
    ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
    ({"reasoning_effort": "banana"}, "invalid_value", "reasoning_effort"),
    ({"response_format": {"type": "sound"}}, "invalid_value", "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "missing_required_parameter", "response_format.json_schema"),
    ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "invalid_value", "structured_outputs"),
    ({"audio": {"voice": "x"}}, "unsupported_parameter", "audio"),
    ({"modalities": ["text", "audio"]}, "unsupported_value", "modalities"),
    ({"web_search_options": {}}, "unsupported_parameter", "web_search_options"),
    ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "invalid_value", "tools[0].function.name"),
    ({"messages": [{"role": "foo", "content": "x"}]}, "invalid_value", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]}, "missing_required_parameter",
     "messages[1].tool_call_id"),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "invalid_value", "messages[0].content[0].type"),
    ({"messages": []}, "missing_required_parameter", "messages"),
])
def test_015_errors(server, fields, code, param):
    body = {"messages": [{"role": "user", "content": "Hi"}], **fields}
    status, answer = post(server, "/v1/chat/completions", body)
    error = answer["error"]
    assert status == 400 and error["type"] == "invalid_request_error"
    assert error["code"] == code and error["param"] == param and error["message"], error


def test_016_exceptions_of_the_sdk(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="lapidary-demo", messages=[{"role": "user", "content": "Hi"}], temperature=-1)
    assert caught.value.code == "invalid_value" and caught.value.param == "temperature"
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such", messages=[{"role": "user", "content": "Hi"}])
    assert caught.value.code == "model_not_found" and caught.value.param == "model"


def test_018_too_long(server):
    status, answer = post(server, "/v1/chat/completions", {"messages": [{"role": "user", "content": "red " * 20000}]})
    assert status == 400 and answer["error"]["code"] == "context_length_exceeded"
    assert "This model's maximum context length is" in answer["error"]["message"]


def test_020_long_answers_are_clamped(server):
    answer = chat(server, max_tokens=10**9, ignore_eos=False)
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_024_lone_surrogates(server):
    status, _, _ = call(server, "/v1/chat/completions",
                        raw=b'{"max_tokens":2,"messages":[{"role":"user","content":"a\\ud800b"}]}')
    assert status in (200, 400)


# C. Models

def test_025_models(server):
    listed = json.loads(call(server, "/v1/models")[2])
    assert listed["object"] == "list" and "models" not in listed
    model = listed["data"][0]
    assert isinstance(model["created"], int) and model["max_model_len"] == 8192
    assert model["architecture"]["input_modalities"] == ["text", "image", "audio", "video"]


def test_026_codex_catalogue(server):
    listed = json.loads(call(server, "/v1/models?client_version=0.148.0")[2])
    model = listed["models"][0]
    assert model["slug"] == listed["data"][0]["id"] and model["context_window"] == 8192
    # Codex refuses a catalogue with a model that has no instructions.
    assert model["base_instructions"] and model["apply_patch_tool_type"] == "freeform"


def test_029_model_is_echoed(server):
    name = json.loads(call(server, "/v1/models")[2])["data"][0]["id"]
    assert chat(server, model=f"google/{name}", max_tokens=2)["model"] == f"google/{name}"


# D. Chat

def test_030_minimal(server):
    answer = chat(server)
    assert set(answer) >= {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"} and "error" not in answer
    assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-")
    choice = answer["choices"][0]
    assert choice["index"] == 0 and choice["logprobs"] is None and choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant" and choice["message"]["refusal"] is None
    assert "demo model" in choice["message"]["content"] and "tool_calls" not in choice["message"]


def test_031_token_limits(server):
    assert chat(server, max_tokens=1)["choices"][0]["finish_reason"] == "length"
    assert chat(server, max_completion_tokens=3, max_tokens=9)["usage"]["completion_tokens"] == 3
    assert chat(server, max_tokens=-1)["choices"][0]["finish_reason"] == "stop"


def test_032_choices(server):
    answer = chat(server, n=3, seed=1, temperature=1)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    alone = chat(server, seed=1, temperature=1)
    assert answer["choices"][0]["message"]["content"] == alone["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]


def test_033_stop_strings(server):
    whole = chat(server)["choices"][0]["message"]["content"]
    stop = whole[8:12]
    answer = chat(server, stop=stop)
    assert answer["choices"][0]["message"]["content"] == whole[:whole.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop" and answer["choices"][0]["stop_reason"] == stop
    assert chat(server, stop="")["choices"][0]["message"]["content"] == whole
    assert chat(server, stop=stop, include_stop_str_in_output=True)["choices"][0]["message"]["content"].endswith(stop)


def test_034_logit_bias(server):
    first = chat(server, logprobs=True, max_tokens=1)["choices"][0]["logprobs"]["content"][0]["token"]
    ids = post(server, "/tokenize", {"content": first})[1]["tokens"]
    assert chat(server, logit_bias={str(ids[0]): -100}, max_tokens=1)["choices"][0]["message"]["content"] != first


def test_035_seeds(server):
    answers = {chat(server, seed=7, temperature=1.5)["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(answers) == 1


def test_037_where_system_messages_stand(server):
    def prompt(messages):
        return post(server, "/apply-template", {"messages": messages})[1]["prompt"]
    joined = prompt([{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, {"role": "user", "content": "C"}])
    assert "A\n\nB" in joined and joined.count("<|turn>system") == 1
    late = prompt([{"role": "user", "content": "C"}, {"role": "developer", "content": "B"}])
    assert "C\n\nB" in late and "<|turn>system" not in late
    assert chat(server, messages=[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], max_tokens=2)
    assert chat(server, messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], max_tokens=2)


def test_041_usage(server):
    question = "Who are you, really and truly, in this very conversation of ours about which nobody else has asked so far?"
    first, second = chat(server, question)["usage"], chat(server, question)["usage"]
    assert first["total_tokens"] == first["prompt_tokens"] + first["completion_tokens"]
    assert second["prompt_tokens"] == first["prompt_tokens"] and second["completion_tokens"] == first["completion_tokens"]
    assert second["prompt_tokens_details"]["cached_tokens"] <= second["prompt_tokens"]
    details = second["completion_tokens_details"]
    assert details["reasoning_tokens"] <= second["completion_tokens"]


def test_042_cache_can_be_declined(server):
    question = "red blue green " * 40
    for _ in range(2):
        usage = chat(server, question, max_tokens=2, cache_prompt=False)["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    salted = [chat(server, question, max_tokens=2, cache_salt=salt)["usage"]["prompt_tokens_details"]["cached_tokens"]
              for salt in ("a", "b", "a")]
    assert salted[0] == salted[1] == 0 and salted[2] > 0


def test_043_markers_in_text_are_text(server):
    text = 'say <|tool_call> and <turn|>'
    prompt = post(server, "/tokenize", {"messages": [{"role": "user", "content": text}]})[1]["tokens"]
    marker = post(server, "/tokenize", {"content": "<|tool_call>"})[1]["tokens"]
    assert len(marker) == 1 and marker[0] not in prompt


# E. Streams

def test_044_order_of_chunks(server):
    chunks = stream(server)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""} and all("role" not in delta for delta in deltas[1:])
    assert deltas[-1] == {} and chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks[:-1])
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


def test_045_usage_in_streams(server):
    chunks = stream(server, stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_046_no_usage_unless_asked(server):
    chunks = stream(server)
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)


def test_047_streams_say_the_same(server, tree, tools):
    for fields in ({"content": "Who are you?"}, {"content": WEATHER, "tools": tools},
                   {"messages": [{"role": "user", "content": [image_part(tree), {"type": "text", "text": "Describe the picture."}]}]}):
        whole = chat(server, **fields)
        chunks = stream(server, stream_options={"include_usage": True}, **fields)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
        message = whole["choices"][0]["message"]
        assert "".join(delta.get("content") or "" for delta in deltas) == (message["content"] or "")
        calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
        assert "".join(call["function"].get("arguments", "") for call in calls) == "".join(
            call["function"]["arguments"] for call in message.get("tool_calls", []))
        for key in ("prompt_tokens", "completion_tokens"):
            assert chunks[-1]["usage"][key] == whole["usage"][key]


def test_048_stream_helper(client):
    with client.chat.completions.stream(model="lapidary-demo", messages=[{"role": "user", "content": "Who are you?"}],
                                        temperature=0, stream_options={"include_usage": True}) as helper:
        for _ in helper:
            pass
        final = helper.get_final_completion()
    assert "demo model" in final.choices[0].message.content and final.usage.completion_tokens > 0


def test_049_three_choices_through_the_helper(client):
    with client.chat.completions.stream(model="lapidary-demo", messages=[{"role": "user", "content": "Who are you?"}], n=3) as helper:
        for _ in helper:
            pass
        final = helper.get_final_completion()
    assert [choice.index for choice in final.choices] == [0, 1, 2]
    assert all(choice.message.content and choice.finish_reason == "stop" for choice in final.choices)


def test_055_running_usage(server):
    chunks = stream(server, stream_options={"continuous_usage_stats": True, "include_usage": True}, return_progress=True,
                    timings_per_token=True)
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts) and counts[-1] > 0


def test_056_nothing_said(server):
    first = chat(server, logprobs=True, max_tokens=1)["choices"][0]["logprobs"]["content"][0]["token"]
    chunks = stream(server, stop=first)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [{"role": "assistant", "content": ""}, {}]


# F. Tools

def test_059_a_call(server, tools):
    choice = chat(server, WEATHER, tools=tools)["choices"][0]
    call_made = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert call_made["id"].startswith("call_") and call_made["type"] == "function"
    assert call_made["function"]["name"] == "get_weather" and json.loads(call_made["function"]["arguments"]) == {"city": "Paris"}


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
def test_060_to_063_streamed_calls(server, tools, choice):
    chunks = stream(server, WEATHER, tools=tools, tool_choice=choice)
    deltas = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert all(delta["index"] == 0 for delta in deltas)
    assert deltas[0]["type"] == "function" and deltas[0]["id"].startswith("call_") and deltas[0]["function"]["arguments"] == ""
    assert all(set(delta) == {"index", "function"} and set(delta["function"]) == {"arguments"} for delta in deltas[1:])
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_062_the_helper_keeps_the_id(client, tools):
    with client.chat.completions.stream(model="lapidary-demo", messages=[{"role": "user", "content": WEATHER}], tools=tools,
                                        temperature=0) as helper:
        ids = set()
        for event in helper:
            if event.type == "chunk":
                for choice in event.chunk.choices:
                    ids |= {call.id for call in choice.delta.tool_calls or [] if call.id}
        final = helper.get_final_completion()
    made = final.choices[0].message.tool_calls
    assert len(made) == 1 and {made[0].id} == ids and made[0].function.name == "get_weather"


def test_064_cut_inside_a_call(server, tools):
    for tokens in range(1, 8):
        choice = chat(server, WEATHER, tools=tools, tool_choice="required", max_tokens=tokens)["choices"][0]
        if choice["finish_reason"] != "tool_calls":
            assert choice["finish_reason"] == "length"


def test_065_required(server, tools):
    for text in ("Hello!", "Who are you?"):
        choice = chat(server, text, tools=tools, tool_choice="required")["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        for made in choice["message"]["tool_calls"]:
            assert made["function"]["name"] in ("get_weather", "set_timer")
            json.loads(made["function"]["arguments"])


def test_066_none(server, tools):
    answer = chat(server, WEATHER, tools=tools, tool_choice="none")
    assert "tool_calls" not in answer["choices"][0]["message"]
    assert answer["usage"]["prompt_tokens"] == chat(server, WEATHER, tools=tools)["usage"]["prompt_tokens"]


def test_067_named(server, tools):
    choice = chat(server, WEATHER, tools=tools, tool_choice={"type": "function", "function": {"name": "set_timer"}})["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "set_timer"
    chat(server, WEATHER, tools=tools, tool_choice={"type": "function", "function": {"name": "nope"}}, expect=400)
    only = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "set_timer"}}]}}
    choice = chat(server, WEATHER, tools=tools, tool_choice=only)["choices"][0]
    assert {made["function"]["name"] for made in choice["message"]["tool_calls"]} == {"set_timer"}


def test_067_custom_tool_with_a_pattern(server):
    grammar = {"syntax": "regex", "definition": r"note [0-9]{2}: (yes|no)\."}
    message = chat(server, max_tokens=60, tool_choice={"type": "custom", "custom": {"name": "note"}}, tools=[
        {"type": "custom", "custom": {"name": "note", "format": {"type": "grammar", "grammar": grammar}}}])["choices"][0]["message"]
    call = message["tool_calls"][0]
    assert call["type"] == "custom" and re.fullmatch(r"note \d\d: (yes|no)\.", call["custom"]["input"])


def test_069_round_trip(server, tools):
    first = chat(server, WEATHER, tools=tools)["choices"][0]["message"]
    messages = [{"role": "user", "content": WEATHER}, first,
                {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "18 degrees and cloudy"}]
    answer = chat(server, messages=messages, tools=tools)["choices"][0]
    assert answer["finish_reason"] == "stop" and "18" in answer["message"]["content"]


def test_070_and_071_histories(server, tools):
    def prompt(arguments):
        messages = [{"role": "user", "content": WEATHER},
                    {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
                    {"role": "tool", "tool_call_id": "c", "content": "x"}]
        status, answer = post(server, "/apply-template", {"messages": messages, "tools": tools})
        assert status == 200, answer
        return answer["prompt"]
    assert 'call:f{command:<|"|>date<|"|>}' in prompt('{"command": "date"}')
    for broken in ("{", "", "[1]", None):
        assert "call:f{" in prompt(broken)


def test_076_many_and_long_names(server):
    tools = [{"type": "function", "function": {"name": f"mcp__srv__do.thing/{i}" + "x" * 60}} for i in range(60)]
    assert chat(server, "Hello!", tools=tools, max_tokens=4)["choices"]


# G. Thinking

def test_077_and_078_thinking(server, tools):
    for fields in ({"chat_template_kwargs": {"enable_thinking": True}}, {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}):
        message = chat(server, "Who are you?", **fields)["choices"][0]["message"]
        assert message.get("reasoning_content") == message.get("reasoning")
    off = chat(server, "Who are you?", chat_template_kwargs={"enable_thinking": False}, reasoning_effort="high")
    assert "reasoning" not in off["choices"][0]["message"]


def test_082_to_084_bounds_and_forms(server):
    fields = {"chat_template_kwargs": {"enable_thinking": True}}
    whole = chat(server, "What is the weather in Paris?", **fields)
    if whole["choices"][0]["message"].get("reasoning"):
        short = chat(server, "What is the weather in Paris?", thinking_token_budget=4, **fields)
        assert short["usage"]["completion_tokens_details"]["reasoning_tokens"] <= 4 + 6
        hidden = chat(server, "What is the weather in Paris?", include_reasoning=False, **fields)["choices"][0]["message"]
        assert "reasoning" not in hidden and hidden["content"] == whole["choices"][0]["message"]["content"]
        raw = chat(server, "What is the weather in Paris?", reasoning_format="raw", **fields)["choices"][0]["message"]["content"]
        assert raw.startswith("<|channel>thought")


def test_085_effort_none(server):
    assert chat(server, reasoning_effort="none")["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


# H. Structured output, log-probabilities

SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
          "required": ["name", "age"], "additionalProperties": False}


@pytest.mark.parametrize("fields", [
    {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA, "strict": True}}},
    {"guided_json": SCHEMA}, {"guided_json": json.dumps(SCHEMA)}, {"structured_outputs": {"json": SCHEMA}}, {"json_schema": SCHEMA}])
@pytest.mark.parametrize("thinking", [False, True])
def test_087_and_089_schemas(server, fields, thinking):
    import jsonschema
    answer = chat(server, "Who are you?", chat_template_kwargs={"enable_thinking": thinking}, temperature=1.5, seed=3, **fields)
    jsonschema.validate(json.loads(answer["choices"][0]["message"]["content"]), SCHEMA)


def test_089_other_formats(server):
    # The text of a key may go on for ever: of some answers those that end are objects.
    answers = [chat(server, content, response_format={"type": "json_object"}, max_tokens=100)["choices"][0]
               for content in ("Hello", "Repeat: {}", "Who are you?", "Thank you", "Say 7.")]
    ended = [answer for answer in answers if answer["finish_reason"] == "stop"]
    assert ended
    assert all(isinstance(json.loads(answer["message"]["content"]), dict) for answer in ended)
    assert chat(server, structured_outputs={"choice": ["left", "right"]})["choices"][0]["message"]["content"] in ("left", "right")
    assert chat(server, guided_regex="[0-9]{3}-[a-f]")["choices"][0]["message"]["content"][3] == "-"


def test_090_bad_schemas(server):
    for schema in ({"type": "banana"}, {"$ref": "#/nowhere"}):
        answer = chat(server, response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema, "strict": True}}, expect=400)
        assert answer["error"]["code"] == "invalid_json_schema"


def test_093_logprobs_with_a_grammar(server):
    answer = chat(server, logprobs=True, top_logprobs=20, structured_outputs={"choice": ["left", "right"]})
    for entry in answer["choices"][0]["logprobs"]["content"]:
        assert len(entry["top_logprobs"]) == 20
        assert all(-9999 <= top["logprob"] <= 0 for top in entry["top_logprobs"])


def test_094_bytes_are_the_text(server):
    answer = chat(server, "Repeat: café 🎉", logprobs=True)["choices"][0]
    joined = bytes(byte for entry in answer["logprobs"]["content"] for byte in entry["bytes"])
    assert joined.decode() == answer["message"]["content"]


def test_095_parse(client):
    class Person(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=12)  # so small a model does not always find the end of a string
        age: int
    answer = client.chat.completions.parse(model="lapidary-demo", messages=[{"role": "user", "content": "Who?"}], response_format=Person,
                                           temperature=0, max_tokens=200)
    assert isinstance(answer.choices[0].message.parsed, Person)
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="lapidary-demo", messages=[{"role": "user", "content": "Who?"}], response_format=Person,
                                      max_tokens=2)


# I. Media

def test_096_pictures(server, tree, lapidary):
    alone = lapidary("run", "--temperature", "0", "--image", tree / "examples/picture.jpg", "Describe the picture.").stdout.strip()
    data = base64.b64encode((tree / "examples/picture.jpg").read_bytes()).decode()
    for url in ("data:image/jpeg;base64," + data, "data:image/png;base64," + data, "data:;base64," + data, data):
        part = {"type": "image_url", "image_url": {"url": url}}
        answer = chat(server, messages=[{"role": "user", "content": [part, {"type": "text", "text": "Describe the picture."}]}])
        assert answer["choices"][0]["message"]["content"] == alone
        assert answer["usage"]["prompt_tokens_details"]["image_tokens"] > 0


def test_097_budgets(server, tree):
    def tokens(**fields):
        part = image_part(tree, **fields.pop("url", {}))
        return chat(server, messages=[{"role": "user", "content": [part]}], max_tokens=1, **fields)["usage"]["prompt_tokens_details"]["image_tokens"]
    assert tokens(url={"detail": "low"}) <= 70 < tokens(url={"detail": "high"}) <= 1120
    assert 70 < tokens(mm_processor_kwargs={"max_soft_tokens": 140}) <= 140
    chat(server, messages=[{"role": "user", "content": [image_part(tree)]}], mm_processor_kwargs={"max_soft_tokens": 300}, expect=400)
    auto = chat(server, messages=[{"role": "user", "content": [image_part(tree)]}], max_tokens=1, image_tokens="auto")
    assert auto["usage"]["prompt_tokens_details"]["image_budgets"][0] in (70, 140, 280, 560, 1120)


def test_098_broken_pictures(server):
    for data in (b"", b"\xff\xd8", b"not a picture"):
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()}}
        error = chat(server, messages=[{"role": "user", "content": [part]}], expect=400)["error"]
        assert error["code"] in ("invalid_image", "unsupported_media_type") and error["param"].startswith("messages[0].content[0]")


def test_101_recordings(server, tree):
    answer = chat(server, messages=[{"role": "user", "content": [audio_part(tree), {"type": "text", "text": "Transcribe the recording."}]}])
    assert answer["choices"][0]["message"]["content"] and answer["usage"]["prompt_tokens_details"]["audio_tokens"] > 0


def test_103_videos(server, tree):
    data = base64.b64encode((tree / "examples/video.mp4").read_bytes()).decode()
    part = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + data}}
    answer = chat(server, messages=[{"role": "user", "content": [part, {"type": "text", "text": "What happens in the video?"}]}])
    assert answer["choices"][0]["message"]["content"] and answer["usage"]["prompt_tokens_details"]["video_tokens"] > 0


def test_105_too_many(server, tree):
    error = chat(server, messages=[{"role": "user", "content": [image_part(tree)] * 17}], expect=400)["error"]
    assert error["code"] == "too_many_media"


@pytest.mark.parametrize("url", ["http://example.com/a.png", "http://127.0.0.1/a.png", "http://169.254.169.254/x", "file:///etc/passwd"])
def test_106_urls_are_refused(server, url):
    error = chat(server, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}], expect=400)["error"]
    assert error["code"] == "media_url_not_allowed"


# J. Completions, embeddings

def test_113_completions(server, client):
    answer = post(server, "/v1/completions", {"prompt": ["a", "b"], "n": 2, "max_tokens": 3})[1]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3] and answer["object"] == "text_completion"
    ids = post(server, "/tokenize", {"content": "The"})[1]["tokens"]
    assert len(post(server, "/v1/completions", {"prompt": [ids, ids], "max_tokens": 3})[1]["choices"]) == 2
    assert client.completions.create(model="lapidary-demo", prompt="The", max_tokens=3).choices[0].text is not None


def test_114_echo(server):
    answer = post(server, "/v1/completions", {"prompt": "The red circle", "echo": True, "logprobs": 1, "max_tokens": 0})[1]
    choice = answer["choices"][0]
    assert choice["text"] == "The red circle" and choice["finish_reason"] == "length"
    assert choice["logprobs"]["token_logprobs"][0] is None and all(value <= 0 for value in choice["logprobs"]["token_logprobs"][1:])
    assert len(choice["logprobs"]["tokens"]) == answer["usage"]["prompt_tokens"] and answer["usage"]["completion_tokens"] == 0


def test_115_completion_streams(server):
    body = {"prompt": "The", "max_tokens": 5, "temperature": 0, "ignore_eos": True}
    whole = post(server, "/v1/completions", body)[1]["choices"][0]["text"]
    text = call(server, "/v1/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})[2]
    events = [event[6:] for event in text.split("\n\n") if event.startswith("data: ")]
    chunks = [json.loads(event) for event in events[:-1]]
    assert events[-1] == "[DONE]" and chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 5
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1]) == whole


def test_116_embeddings(server, client):
    status, answer = post(server, "/v1/embeddings", {"input": "x", "model": "lapidary-demo"})
    assert status == 501 and answer["error"]["code"] == "unsupported_endpoint"


# O, P. Extras and operations

def test_167_health(server):
    assert json.loads(call(server, "/health")[2]) == {"status": "ok"}


def test_168_tokenize(server):
    for text in ("Hello", "naïve café 🎉", "<|turn>", "a\n\nb  c"):
        tokens = post(server, "/tokenize", {"content": text})[1]["tokens"]
        back = post(server, "/detokenize", {"tokens": tokens})[1]
        assert back["content"] == back["prompt"] == text
    assert post(server, "/tokenize", {"prompt": "Hi", "return_token_strs": True})[1]["count"] >= 2
    assert post(server, "/detokenize", {"tokens": [10**9]})[0] == 400


def test_170_metrics(server):
    text = call(server, "/metrics")[2]
    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
                 "vllm:time_to_first_token_seconds_bucket", "vllm:request_success_total", "llamacpp:prompt_tokens_total",
                 "http_requests_total", "process_resident_memory_bytes"):
        assert name in text, name


def running(server):
    return json.loads(call(server, "/load")[2])["server_load"]


def test_175_and_176_a_client_that_leaves(server):
    host, port = server.removeprefix("http://").split(":")
    for streams in (True, False):
        body = json.dumps({"messages": [{"role": "user", "content": "Who are you?"}], "ignore_eos": True, "stream": streams}).encode()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            deadline = time.time() + 20
            while running(server) == 0 and time.time() < deadline:
                time.sleep(0.01)
            assert running(server) > 0
        deadline = time.time() + 20
        while running(server) > 0 and time.time() < deadline:
            time.sleep(0.01)
        assert running(server) == 0


def test_184_hosts(server):
    assert call(server, "/v1/models", headers={"Host": "evil.com"})[0] == 403
    assert call(server, "/v1/models", headers={"Host": "localhost:1"})[0] == 200


def test_root(server):
    assert call(server, "/", headers={"Accept": "*/*"})[2] == "Ollama is running"
    status, headers, text = call(server, "/", headers={"Accept": "text/html,*/*"})
    assert status == 200 and "<html" in text and "default-src 'none'" in headers["Content-Security-Policy"]


# Audio endpoints

def transcribe(client, tree, **fields):
    return client.audio.transcriptions.create(model="whisper-1", file=(tree / "examples/recording.wav").open("rb"), **fields)


def test_117_transcription(client, tree, lapidary):
    alone = lapidary("transcribe", tree / "examples/recording.wav").stdout.strip()
    assert transcribe(client, tree).text == alone
    assert transcribe(client, tree, response_format="text").strip() == alone


def test_118_and_119_formats(client, tree):
    verbose = transcribe(client, tree, response_format="verbose_json")
    assert verbose.duration > 0 and verbose.segments[0].end > verbose.segments[0].start >= 0
    assert " --> " in transcribe(client, tree, response_format="srt")
    assert transcribe(client, tree, response_format="vtt").startswith("WEBVTT\n\n")
    with pytest.raises(openai.BadRequestError):
        transcribe(client, tree, response_format="json", timestamp_granularities=["segment"])
    with pytest.raises(openai.BadRequestError):
        transcribe(client, tree, response_format="diarized_json")


def test_120_transcription_streams(client, tree):
    events = list(transcribe(client, tree, stream=True))
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == transcribe(client, tree).text


def test_121_broken_recordings(client, tree):
    for name, data in (("empty.wav", b""), ("text.wav", b"hello, this is text"), ("half.wav", b"RIFF")):
        with pytest.raises(openai.BadRequestError):
            client.audio.transcriptions.create(model="whisper-1", file=(name, data))
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("large.wav", b"RIFF" + bytes(26 << 20)))
    assert caught.value.status_code == 413
