"""Frameworks that speak to the server through clients of their own: LangChain and LiteLLM, as they ship."""
import base64
import json

import pytest

langchain_openai = pytest.importorskip("langchain_openai")
litellm = pytest.importorskip("litellm")

WEATHER = "What is the weather in Paris?"


@pytest.fixture(scope="module")
def picture(tree):
    return "data:image/jpeg;base64," + base64.b64encode((tree / "examples/picture.jpg").read_bytes()).decode()


@pytest.fixture(scope="module")
def tools(tree):
    return json.loads((tree / "examples/tools.json").read_text())


@pytest.fixture(scope="module")
def alone(lapidary, tree):
    """What the program says by itself about the picture."""
    return lapidary("run", "--temperature", "0", "--image", tree / "examples/picture.jpg", "Describe the picture.").stdout.strip()


@pytest.fixture(scope="module")
def chain(server):
    return langchain_openai.ChatOpenAI(base_url=server + "/v1", api_key="none", model="lapidary-demo", temperature=0)


def test_langchain_text_and_stream(chain):
    answer = chain.invoke("Who are you?")
    assert "demo model" in answer.content and answer.usage_metadata["output_tokens"] > 0
    pieces = list(chain.stream("Who are you?"))
    assert len(pieces) > 2 and "".join(piece.content for piece in pieces) == answer.content


def test_langchain_picture(chain, picture, alone):
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}},
                                           {"type": "text", "text": "Describe the picture."}]}
    assert chain.invoke([message]).content == alone


def test_langchain_tools(chain, tools):
    from langchain_core.messages import HumanMessage, ToolMessage
    bound = chain.bind_tools(tools)
    question = HumanMessage(WEATHER)
    call = bound.invoke([question])
    assert [(made["name"], made["args"]) for made in call.tool_calls] == [("get_weather", {"city": "Paris"})]
    answer = bound.invoke([question, call, ToolMessage("18 degrees and cloudy", tool_call_id=call.tool_calls[0]["id"])])
    assert "18" in answer.content
    streamed = None
    for piece in bound.stream([question]):
        streamed = piece if streamed is None else streamed + piece
    assert [(made["name"], made["args"]) for made in streamed.tool_calls] == [("get_weather", {"city": "Paris"})]


def test_langchain_structured_output(chain):
    import pydantic

    class Person(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=12)
        age: int
    answer = chain.with_structured_output(Person, method="json_schema").invoke("Who are you?")
    assert isinstance(answer, Person)


def complete(server, **fields):
    return litellm.completion(model="openai/lapidary-demo", api_base=server + "/v1", api_key="none", temperature=0, **fields)


def ask(*content):
    return [{"role": "user", "content": list(content) if len(content) > 1 else content[0]}]


def test_litellm_text_and_stream(server):
    answer = complete(server, messages=ask("Who are you?"))
    text = answer.choices[0].message.content
    assert "demo model" in text and answer.usage.completion_tokens > 0
    pieces = [chunk.choices[0].delta.content or "" for chunk in complete(server, messages=ask("Who are you?"), stream=True)]
    assert "".join(pieces) == text


def test_litellm_picture(server, picture, alone):
    parts = ({"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "Describe the picture."})
    assert complete(server, messages=ask(*parts)).choices[0].message.content == alone


def test_litellm_tools(server, tools):
    made = complete(server, messages=ask(WEATHER), tools=tools).choices[0]
    assert made.finish_reason == "tool_calls" and json.loads(made.message.tool_calls[0].function.arguments) == {"city": "Paris"}
    messages = ask(WEATHER) + [made.message.model_dump(), {"role": "tool", "tool_call_id": made.message.tool_calls[0].id,
                                                           "content": "18 degrees and cloudy"}]
    assert "18" in complete(server, messages=messages, tools=tools).choices[0].message.content


def test_litellm_knows_the_errors(server):
    with pytest.raises(litellm.ContextWindowExceededError):
        complete(server, messages=ask("red " * 20000))
    with pytest.raises(litellm.BadRequestError):
        complete(server, messages=ask("Hi"), n=1000)


def test_litellm_anthropic(server):
    answer = litellm.completion(model="anthropic/claude-3-haiku-20240307", api_base=server, api_key="none", max_tokens=60,
                                messages=ask("Who are you?"))
    assert answer.choices[0].message.content and answer.usage.completion_tokens > 0
