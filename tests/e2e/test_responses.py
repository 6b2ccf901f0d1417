"""/v1/responses with the client that most programs use, and as bytes where the client would hide something. Numbers in
names are cases of the API specification's checklist."""
import base64
import json
import re
import urllib.error
import urllib.request

import openai
import pydantic
import pytest
import zstandard

WEATHER = {"type": "function", "name": "get_weather", "description": "The weather of a city.", "strict": False,
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
OFFICIAL = {
    "response.created", "response.in_progress", "response.completed", "response.incomplete", "response.failed",
    "response.output_item.added", "response.output_item.done", "response.content_part.added",
    "response.content_part.done", "response.output_text.delta", "response.output_text.done",
    "response.reasoning_text.delta", "response.reasoning_text.done", "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done", "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done", "response.function_call_arguments.delta",
    "response.function_call_arguments.done", "response.custom_tool_call_input.delta",
    "response.custom_tool_call_input.done"}


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


@pytest.fixture
def ask(client, model):
    def create(**fields):
        return client.responses.create(**{"model": model, "temperature": 0, "max_output_tokens": 200, **fields})
    return create


def data_url(path, media_type):
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


def post(server, path, body, headers=None, method="POST"):
    """Returns status and body as they are."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(server + path, data=data, method=method,
                                     headers={"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def events_of(text):
    """The events of a stream; what every stream must keep to is checked here."""
    assert "[DONE]" not in text
    events = []
    for block in text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["type"] in OFFICIAL
        assert event["sequence_number"] == len(events)
        events.append(event)
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] in ("response.completed", "response.incomplete", "response.failed")
    return events


def calls_of(response):
    return [item for item in response.output if item.type == "function_call"]


def test_122_text(ask):
    response = ask(input="Hello!", instructions="Answer in one sentence.")
    assert response.status == "completed" and response.output_text
    assert response.error is None and response.incomplete_details is None
    assert response.output[-1].content[0].annotations == []
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_122_every_key(server, model):
    status, text = post(server, "/responses", {"model": model, "input": "Hi", "max_output_tokens": 5})
    assert status == 200
    assert {"id", "object", "created_at", "completed_at", "status", "background", "error", "incomplete_details",
            "instructions", "max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls",
            "previous_response_id", "prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store",
            "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "usage", "user",
            "metadata"} <= json.loads(text).keys()


def test_122_items(ask):
    response = ask(input=[{"role": "user", "content": "My name is Ada."},
                          {"role": "assistant", "content": "Hello Ada."},
                          {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}])
    assert response.output_text


def test_picture(ask, tree):
    picture = data_url(tree / "examples/picture.jpg", "image/jpeg")
    response = ask(input=[{"role": "user", "content": [
        {"type": "input_image", "image_url": picture, "detail": "auto"},
        {"type": "input_text", "text": "Describe the picture."}]}])
    assert response.output_text and response.usage.input_tokens > 70


def test_sound(ask, tree):
    data = base64.b64encode((tree / "examples/recording.wav").read_bytes()).decode()
    response = ask(input=[{"role": "user", "content": [
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        {"type": "input_text", "text": "Transcribe the recording."}]}])
    assert response.output_text


def test_123_stream(client, model):
    with client.responses.stream(model=model, input="Hello!", max_output_tokens=200, temperature=0) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert final.output_text == deltas
    again = client.responses.create(model=model, input="Hello!", max_output_tokens=200, temperature=0)
    assert again.output_text == deltas


def test_123_thought_text_and_call_streamed(client, model):
    with client.responses.stream(model=model, input="What is the weather in Paris?", tools=[WEATHER], temperature=0,
                                 reasoning={"effort": "low"}, tool_choice="required", max_output_tokens=400) as stream:
        events = list(stream)
        final = stream.get_final_response()
    calls = calls_of(final)
    assert calls and calls[0].name == "get_weather" and "city" in json.loads(calls[0].arguments)
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert done[0].arguments == calls[0].arguments


def test_124_events(server, model):
    body = {"model": model, "input": "Hello!", "stream": True, "max_output_tokens": 100}
    status, text = post(server, "/v1/responses", body)
    assert status == 200
    events = events_of(text)
    assert [event["type"] for event in events[:4]] == ["response.created", "response.in_progress",
                                                       "response.output_item.added", "response.content_part.added"]
    assert events[-1]["response"]["output"] == [e["item"] for e in events if e["type"] == "response.output_item.done"]


def test_126_usage_details(server, model):
    body = {"model": model, "input": "Hello!", "stream": True, "max_output_tokens": 100}
    _, text = post(server, "/v1/responses", body)
    usage = events_of(text)[-1]["response"]["usage"]
    assert isinstance(usage["input_tokens_details"]["cached_tokens"], int)
    assert isinstance(usage["output_tokens_details"]["reasoning_tokens"], int)


def test_127_hosted_tools_are_left_out(ask):
    hosted = [{"type": kind} for kind in ("web_search", "image_generation", "local_shell", "tool_search", "mcp",
                                          "code_interpreter", "file_search", "computer_use_preview")]
    response = ask(input="What is the weather in Paris?", tools=[*hosted, WEATHER,
                   {"type": "custom", "name": "apply_patch"}], tool_choice={"type": "function", "name": "get_weather"})
    assert calls_of(response)[0].name == "get_weather"
    with pytest.raises(openai.BadRequestError):
        ask(input="x", tools=[*hosted, WEATHER], tool_choice={"type": "web_search_preview"})


def test_128_namespace(ask):
    space = {"type": "namespace", "name": "mcp__maps", "description": "maps", "tools": [
        {**WEATHER, "name": "find"}, {**WEATHER, "name": "show"}]}
    response = ask(input="What is the weather in Paris?", tools=[space],
                   tool_choice={"type": "function", "name": "show"})
    call = calls_of(response)[0]
    assert (call.name, call.namespace) == ("show", "mcp__maps")
    response = ask(tools=[space], input=[
        {"role": "user", "content": "What is the weather in Paris?"}, call.to_dict(),
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}])
    assert response.status in ("completed", "incomplete")


def test_129_custom_tool(client, model):
    tools = [{"type": "custom", "name": "note", "description": "Writes down free text."}]
    with client.responses.stream(model=model, input="Write down: hello", tools=tools, temperature=0,
                                 tool_choice={"type": "custom", "name": "note"}, max_output_tokens=60) as stream:
        events = list(stream)
    item = [event.item for event in events if event.type == "response.output_item.done"][-1]
    assert item.type == "custom_tool_call" and item.name == "note" and isinstance(item.input, str)
    inputs = [event.input for event in events if event.type == "response.custom_tool_call_input.done"]
    assert inputs == [item.input]
    response = client.responses.create(model=model, max_output_tokens=20, tools=tools, input=[
        {"role": "user", "content": "Write down: hello"}, {**item.to_dict(), "status": "completed"},
        {"type": "custom_tool_call_output", "call_id": item.call_id, "output": "done"}])
    assert response.id.startswith("resp_")


def test_129_custom_tool_with_a_pattern(ask):
    # A pattern that is not understood is told to the model and holds nothing.
    for definition, wanted in ((r"note [0-9]{2}: (yes|no)\.", r"note \d\d: (yes|no)\."), (r"(?<=a)b", r"[\s\S]*")):
        response = ask(input="Write down: hello", tool_choice={"type": "custom", "name": "note"}, tools=[
            {"type": "custom", "name": "note",
             "format": {"type": "grammar", "syntax": "regex", "definition": definition}}])
        assert re.fullmatch(wanted, response.output[-1].input)


def test_130_tool_results(ask, tree):
    first = ask(input="What is the weather in Paris?", tools=[WEATHER],
                tool_choice={"type": "function", "name": "get_weather"})
    call = calls_of(first)[0]
    picture = data_url(tree / "examples/picture.jpg", "image/jpeg")
    for output in ("22 degrees and sunny", "", [{"type": "input_text", "text": "sunny"}],
                   [{"type": "output_text", "text": "sunny"}], [{"type": "input_image", "image_url": picture}]):
        response = ask(tools=[WEATHER], input=[
            {"role": "user", "content": "What is the weather in Paris?"}, call.to_dict(),
            {"type": "function_call_output", "call_id": call.call_id, "output": output}])
        assert response.output
    second = ask(tools=[WEATHER], previous_response_id=first.id, input=[
        {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees and sunny"}])
    assert second.output


def test_131_reasoning_goes_round(ask):
    response = ask(input="Hello!", reasoning={"effort": "low"}, include=["reasoning.encrypted_content"],
                   store=False, max_output_tokens=400)
    sealed = [item.encrypted_content for item in response.output if item.type == "reasoning"]
    for content in [*sealed, "gAAAAABforeign"]:
        again = ask(input=[{"role": "user", "content": "Hello!"},
                           {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": content},
                           {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Hello!"}])
        assert again.output


def test_reasoning_and_summary(server, model):
    for summary, kind in ((None, "response.reasoning_text.delta"), ("auto", "response.reasoning_summary_text.delta")):
        _, text = post(server, "/v1/responses", {
            "model": model, "input": "What is the weather in Paris?", "stream": True, "temperature": 0,
            "reasoning": {"effort": "medium", "summary": summary}, "max_output_tokens": 300})
        events = events_of(text)
        thoughts = "".join(event["delta"] for event in events if event["type"] == kind)
        items = [item for item in events[-1]["response"]["output"] if item["type"] == "reasoning"]
        assert bool(items) == bool(thoughts)
        for item in items:
            assert "".join(part["text"] for part in item["summary" if summary else "content"]) == thoughts


def test_088_schema_after_reasoning(ask):
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"],
              "additionalProperties": False}
    response = ask(input="Which city?", reasoning={"effort": "low"}, max_output_tokens=1500,
                   text={"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}})
    kinds = [item.type for item in response.output]
    assert kinds == sorted(kinds, key=("reasoning", "message").index)
    if response.status == "completed":
        assert json.loads(response.output_text).keys() == {"city"}


def test_095_parse(client, model):
    class Answer(pydantic.BaseModel):
        yes: bool

    response = client.responses.parse(model=model, input="Is it?", text_format=Answer, temperature=0,
                                      max_output_tokens=100)
    assert response.output_parsed.yes in (True, False)


def test_132_previous_response(client, ask):
    first = ask(input="My name is Ada.", instructions="Be brief.")
    second = ask(input="Hello!", previous_response_id=first.id)
    assert second.previous_response_id == first.id and second.instructions is None
    assert second.usage.input_tokens > first.usage.input_tokens - 10
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.role for item in items] == ["user", "assistant", "user"]
    page = client.responses.input_items.list(second.id, limit=1)
    assert page.has_more and page.data[0].content[0].text == "Hello!"
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    # What went on from it has all it needs.
    assert ask(input="Hello!", previous_response_id=second.id).output
    with pytest.raises(openai.NotFoundError) as error:
        ask(input="Hello!", previous_response_id="resp_none")
    assert error.value.code == "previous_response_not_found"


def test_132_item_reference(ask):
    first = ask(input="Hello!")
    again = ask(input=[{"role": "user", "content": "Hello!"}, {"type": "item_reference", "id": first.output[-1].id},
                       {"role": "user", "content": "Hello!"}])
    assert again.output
    with pytest.raises(openai.NotFoundError):
        ask(input=[{"type": "item_reference", "id": "msg_none"}])


def test_132_not_stored(client, ask):
    response = ask(input="Hello!", store=False)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_replay(server, client, model):
    _, text = post(server, "/v1/responses", {"model": model, "input": "Hello!", "stream": True, "temperature": 0,
                                              "max_output_tokens": 100})
    events = events_of(text)
    response_id = events[0]["response"]["id"]
    assert client.responses.retrieve(response_id).to_dict()["output"] == events[-1]["response"]["output"]
    _, again = post(server, f"/v1/responses/{response_id}?stream=true", None, method="GET")
    assert events_of(again) == events
    _, rest = post(server, f"/v1/responses/{response_id}?stream=true&starting_after=3", None, method="GET")
    assert [json.loads(line[6:])["sequence_number"] for line in rest.split("\n") if line.startswith("data:")] == \
        list(range(4, len(events)))


def test_cancel_of_what_is_complete(client, ask):
    response = ask(input="Hello!")
    assert client.responses.cancel(response.id).status == response.status
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_none")


def test_cancel_of_what_runs(client, model):
    stream = client.responses.create(model=model, input="Hello!", stream=True, max_output_tokens=900,
                                     extra_body={"ignore_eos": True})
    kinds = []
    for event in stream:
        kinds.append(event.type)
        if event.type == "response.created":
            assert client.responses.retrieve(event.response.id).status == "in_progress"
            assert client.responses.cancel(event.response.id).status == "cancelled"
    assert kinds[-1] == "response.incomplete"
    assert event.response.status == "cancelled" and event.response.usage.output_tokens < 900


def test_133_incomplete(client, model, ask):
    response = ask(input="Hello!", max_output_tokens=2, extra_body={"ignore_eos": True})
    assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens"
    assert response.output[-1].status == "incomplete"
    with client.responses.stream(model=model, input="Hello!", max_output_tokens=2,
                                 extra_body={"ignore_eos": True}) as stream:
        assert [event.type for event in stream][-1] == "response.incomplete"


def test_133_overflow(ask):
    with pytest.raises(openai.BadRequestError) as error:
        ask(input="apple " * 40_000)
    assert error.value.code == "context_length_exceeded"
    assert "maximum context length is" in error.value.message


def test_truncation(ask):
    items = [{"role": ("user", "assistant")[i % 2], "content": "apple " * 400} for i in range(100)]
    response = ask(input=[*items, {"role": "user", "content": "Hello!"}], truncation="auto", max_output_tokens=8)
    assert response.truncation == "auto" and response.output


def test_064_call_is_cut(ask):
    response = ask(input="What is the weather in Paris?", tools=[WEATHER], tool_choice="required", max_output_tokens=6)
    assert response.status == "incomplete"
    assert all("<|tool_call>" not in part.text for item in response.output if item.type == "message"
               for part in item.content)


def test_logprobs(ask):
    response = ask(input="Hello!", top_logprobs=2, include=["message.output_text.logprobs"])
    part = response.output[-1].content[0]
    assert b"".join(bytes(entry.bytes) for entry in part.logprobs).decode() == part.text
    assert all(len(entry.top_logprobs) == 2 for entry in part.logprobs)


def test_input_tokens(server, client, model, ask):
    response = ask(input="Hello!", tools=[WEATHER], tool_choice="none")
    counted = client.responses.input_tokens.count(model=model, input="Hello!", tools=[WEATHER], tool_choice="none")
    assert counted.object == "response.input_tokens" and counted.input_tokens == response.usage.input_tokens


def test_errors(server, client, model, ask):
    for fields in ({"input": []}, {"background": True}, {"prompt": {"id": "p"}},
                   {"conversation": "c"}, {"text": {"format": {"type": "sound"}}}, {"top_logprobs": 21}):
        with pytest.raises(openai.BadRequestError):
            ask(**{"input": "Hello!", **fields})
    with pytest.raises(openai.NotFoundError) as error:
        client.responses.create(model="gpt-none", input="Hello!")
    assert error.value.code == "model_not_found"
    assert post(server, "/v1/responses/compact", {"model": model})[0] == 404
    assert post(server, "/v1/responses", b"{")[0] == 400
    status, text = post(server, "/v1/responses", None, method="GET")
    assert status == 405 and json.loads(text)["error"]["message"]


def test_135_as_codex_sends_it(server, model):
    body = {"model": model, "instructions": "You are a coding agent.", "stream": True, "store": False,
            "input": [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
                      {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}],
            "tools": [{"type": "function", "name": "exec_command", "description": "Runs a command.", "strict": False,
                       "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}},
                                      "required": ["cmd"], "additionalProperties": False}},
                      {"type": "custom", "name": "apply_patch", "description": "Edits files.",
                       "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
                      {"type": "web_search", "external_web_access": False}],
            "tool_choice": "auto", "parallel_tool_calls": False, "reasoning": None, "prompt_cache_key": "k",
            "max_output_tokens": 100,
            "include": ["reasoning.encrypted_content"], "client_metadata": {"installation": "i"}}
    packed = zstandard.ZstdCompressor().compress(json.dumps(body).encode())
    status, text = post(server, "/v1/responses", packed, {"Content-Encoding": "zstd", "Accept": "text/event-stream"})
    assert status == 200
    last = events_of(text)[-1]
    assert last["response"]["id"] and last["response"]["usage"]["total_tokens"] > 0
    status, text = post(server, "/v1/responses", b"not zstd", {"Content-Encoding": "zstd"})
    assert status == 400
