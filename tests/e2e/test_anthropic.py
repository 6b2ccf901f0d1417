"""The Anthropic surface with its own client, and over plain HTTP. Numbers in names are cases of the API's checklist."""
import json
import threading

import anthropic
import pytest
from http_client import ask, base64_of

MODEL = "claude-test"  # any name is answered


@pytest.fixture(scope="module")
def client(server):
    return anthropic.Anthropic(base_url=server, api_key="none", max_retries=0, timeout=300)


@pytest.fixture(scope="module")
def tools(tree):
    declared = json.loads((tree / "examples/tools.json").read_text())
    return [{"name": tool["function"]["name"], "description": tool["function"]["description"],
             "input_schema": tool["function"]["parameters"]} for tool in declared]


def body(content="Who are you?", **fields):
    return {"model": MODEL, "max_tokens": 60, "temperature": 0,
            "messages": content if isinstance(content, list) and "role" in content[0] else
            [{"role": "user", "content": content}], **fields}


def call(*arguments, **fields):
    """The same for the client, which knows no temperature any more."""
    asked = body(*arguments, **fields)
    asked["extra_body"] = {"temperature": asked.pop("temperature"), **asked.pop("extra_body", {})}
    return asked


def picture(tree):
    return {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg",
                                        "data": base64_of(tree / "examples/picture.jpg")}}


def test_136_minimal(client):
    message = client.messages.create(**call())
    assert message.type == "message" and message.role == "assistant" and message.model == MODEL
    assert message.id.startswith("msg_")
    assert [block.type for block in message.content] == ["text"] and message.content[0].text
    assert message.stop_reason == "end_turn" and message.stop_sequence is None
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert message.usage.service_tier == "standard"


def test_136_stream_is_the_same_message(client):
    whole = client.messages.create(**call())
    with client.messages.stream(**call()) as stream:
        texts = list(stream.text_stream)
        streamed = stream.get_final_message()
    assert "".join(texts) == whole.content[0].text == streamed.content[0].text
    assert len(texts) > 1
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_137_138_sequence_of_events(server, tools):
    answer = ask(server + "/v1/messages?beta=true", body("What is the weather in Paris?", stream=True, tools=tools))
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    events = answer.events
    names = [name for name, _ in events]
    assert names[:2] == ["message_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert names.count("message_start") == 1
    assert all(name == data["type"] for name, data in events)
    open_block, blocks = None, 0
    for name, data in events:
        if name == "content_block_start":
            assert open_block is None and data["index"] == blocks
            open_block, blocks = data["index"], blocks + 1
        elif name == "content_block_delta":
            assert data["index"] == open_block
        elif name == "content_block_stop":
            assert data["index"] == open_block
            open_block = None
    assert open_block is None and blocks >= 1
    usage = events[0][1]["message"]["usage"]
    final = events[-2][1]["usage"]
    assert usage["input_tokens"] == final["input_tokens"] + final["cache_read_input_tokens"]


def test_tools_round_trip(client, tools):
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = client.messages.create(**call(messages, tools=tools))
    assert first.stop_reason == "tool_use"
    used = first.content[-1]
    assert used.type == "tool_use" and used.id.startswith("toolu_")
    assert used.name == "get_weather" and used.input["city"] == "Paris"
    messages += [{"role": "assistant", "content": first.content},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": used.id,
                                               "content": "sunny, 21 degrees"}]}]
    second = client.messages.create(**call(messages, tools=tools))
    assert second.content and second.content[0].type == "text"
    assert second.usage.cache_read_input_tokens > 0

    with client.messages.stream(**call(messages[:1], tools=tools)) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[-1].input == used.input and streamed.stop_reason == "tool_use"


def test_147_tool_choice(client, server, tools):
    forced = client.messages.create(**call("Hello!", tools=tools, tool_choice={"type": "any"}))
    assert forced.stop_reason in ("tool_use", "max_tokens") and forced.content[-1].type == "tool_use"
    named = client.messages.create(**call("Hello!", tools=tools,
                                          tool_choice={"type": "tool", "name": "set_timer",
                                                       "disable_parallel_tool_use": True}))
    assert [block.name for block in named.content if block.type == "tool_use"] == ["set_timer"]
    none = client.messages.create(**call("What is the weather in Paris?", tools=tools, tool_choice={"type": "none"}))
    assert all(block.type != "tool_use" for block in none.content)
    assert ask(server + "/v1/messages", body(tools=tools, tool_choice={"type": "tool"})).status == 400
    assert ask(server + "/v1/messages", body(tool_choice={"type": "any"})).status == 400


def test_picture_and_sound(client, tree):
    seen = client.messages.create(**call([picture(tree), {"type": "text", "text": "Describe the picture."}]))
    text_only = client.messages.create(**call("Describe the picture."))
    assert seen.usage.input_tokens + seen.usage.cache_read_input_tokens > text_only.usage.input_tokens + 50
    assert seen.content[0].text
    sound = {"type": "audio", "source": {"type": "base64", "media_type": "audio/wav",
                                         "data": base64_of(tree / "examples/recording.wav")}}
    heard = client.messages.create(**call([sound, {"type": "text", "text": "Transcribe the recording."}]))
    assert heard.content[0].text


def test_structured_output(client):
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
                                               "size": {"type": "integer", "minimum": 0, "maximum": 99}},
              "required": ["city", "size"], "additionalProperties": False}
    message = client.messages.create(**call("Name a city.", max_tokens=200, output_config={
        "format": {"type": "json_schema", "schema": schema}}))
    answer = json.loads(message.content[0].text)
    assert set(answer) == {"city", "size"} and isinstance(answer["size"], int)


def test_thinking(client):
    asked = call("What is 2 + 2?", max_tokens=300, thinking={"type": "enabled", "budget_tokens": 1024})
    whole = client.messages.create(**asked)
    for block in whole.content[:-1]:
        assert block.type == "thinking" and block.signature
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    assert [block.type for block in streamed.content] == [block.type for block in whole.content]
    assert all(block.signature for block in streamed.content if block.type == "thinking")
    omitted = client.messages.create(**{**asked, "thinking": {**asked["thinking"], "display": "omitted"}})
    assert all(block.thinking == "" and block.signature for block in omitted.content if block.type == "thinking")


def test_139_count_tokens_is_what_a_call_has(client, server, tools, tree):
    fields = {"system": "Be brief.", "tools": tools}
    content = [picture(tree), {"type": "text", "text": "Describe the picture."}]
    counted = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": content}], **fields)
    message = client.messages.create(**call(content, **fields))
    assert counted.input_tokens == message.usage.input_tokens + message.usage.cache_read_input_tokens
    again = ask(server + "/v1/messages/count_tokens?beta=true",
                {"messages": [{"role": "user", "content": content}], **fields})
    assert again.status == 200 and again.json["input_tokens"] == counted.input_tokens


def test_140_the_billing_header_does_not_cost_the_prefix(client):
    def ask_with(cch):
        system = [{"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.9; cch={cch};"},
                  {"type": "text", "text": "You are a careful helper. " * 110}]
        return client.messages.create(**call("Hello there, who are you?", max_tokens=5, system=system)).usage

    ask_with("00001")  # long enough for whole pages of the cache to be nearly all of it
    second = ask_with("abcde")
    assert second.cache_read_input_tokens >= 0.95 * (second.input_tokens + second.cache_read_input_tokens)


def test_141_142_inline_system_and_mixed_results(server, tree, tools):
    messages = [{"role": "user", "content": "What is the weather in Paris and in Oslo?"},
                {"role": "system", "content": "Today is Monday."},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "toolu_a", "name": "get_weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "toolu_b", "name": "get_weather", "input": {"city": "Oslo"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_b", "content": "snow"},
                    {"type": "tool_result", "tool_use_id": "toolu_a", "content": [{"type": "text", "text": "sun"}]},
                    {"type": "text", "text": "Be quick."}, picture(tree)]},
                {"role": "system", "content": "Little context is left."},
                {"role": "ctx", "content": "a note"}, {"role": "msg", "content": "And?"}]
    answer = ask(server + "/v1/messages", body(messages, tools=tools, max_tokens=5))
    assert answer.status == 200, answer.body


def test_143_144_what_histories_hold(server, tree):
    messages = [{"role": "user", "content": "Look."},
                {"role": "assistant", "content": [
                    {"type": "redacted_thinking", "data": "AAAA"}, {"type": "thinking", "thinking": "hm"},
                    {"type": "thinking", "thinking": "so", "signature": "from somewhere else"},
                    {"type": "tool_use", "id": "a", "name": "look", "input": {}},
                    {"type": "tool_use", "id": "b", "name": "look", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": True},
                                             {"type": "tool_result", "tool_use_id": "b", "content": [picture(tree)]}]}]
    for thinking in ({"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}):
        answer = ask(server + "/v1/messages", body(messages, thinking=thinking, max_tokens=5))
        assert answer.status == 200, answer.body


def test_145_stop_reasons(client):
    assert client.messages.create(**call(max_tokens=2)).stop_reason == "max_tokens"
    text = client.messages.create(**call()).content[0].text
    word = text.split()[2]
    stopped = client.messages.create(**call(stop_sequences=[word]))
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == word
    assert word not in "".join(block.text for block in stopped.content)


def test_146_max_tokens(server):
    asked = body()
    assert ask(server + "/v1/messages", {**asked, "max_tokens": 0}).status == 400
    del asked["max_tokens"]
    answer = ask(server + "/v1/messages", asked)
    assert answer.status == 400 and "max_tokens" in answer.json["error"]["message"]
    assert ask(server + "/v1/messages", {**asked, "max_tokens": 10_000_000}).status == 200


def test_148_prefill(client):
    whole = client.messages.create(**call()).content[0].text
    begun = whole[:whole.index(" ", 5)]
    message = client.messages.create(**call([{"role": "user", "content": "Who are you?"},
                                             {"role": "assistant", "content": begun}]))
    assert not message.content or not message.content[0].text.startswith(begun)


def test_errors(client, server):
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(**call([{"role": "robot", "content": "x"}]))
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    answer = ask(server + "/v1/messages", b"{")
    assert answer.status == 400 and answer.json["type"] == "error"
    assert answer.json["request_id"] == answer.headers["request-id"]
    assert ask(server + "/v1/messages", method="GET").status == 405
    unknown = ask(server + "/v1/messages/batches", {})
    assert unknown.status == 404 and unknown.json["error"]["type"] == "not_found_error"
    long = ask(server + "/v1/messages", body("word " * 200_000))
    assert long.status == 400 and "prompt is too long: " in long.json["error"]["message"]
    assert " tokens > " in long.json["error"]["message"]


def test_027_models(client):
    models = list(client.models.list())
    assert models and models[0].type == "model" and models[0].id == "lapidary-demo"
    assert client.models.retrieve(models[0].id).id == models[0].id


def test_cancel_in_mid_stream(client, server):
    asked = call("Count as far as you can.", max_tokens=100_000, extra_body={"ignore_eos": True})
    with client.messages.stream(**asked) as stream:
        for _, _ in zip(range(5), stream.text_stream):
            pass
    # The client is gone: nothing runs any more, soon.
    gone = threading.Event()
    for _ in range(100):
        if ask(server + "/load").json["server_load"] == 0:
            break
        gone.wait(0.1)
    assert ask(server + "/load").json["server_load"] == 0
