"""Conversations for the chat template, as the reference's `apply_chat_template` takes them.

`WORKED` are the examples whose text is known from the prompt format itself: each carries the exact string it must give.
`OTHERS` have no written answer; the template's rendering of them is the golden value. Every entry is a dict with
`name`, `messages`, and where needed `tools`, `enable_thinking`, `preserve_thinking`, `add_generation_prompt`, `expected`.
"""

EMPTY_CHANNEL = "<|channel>thought\n<channel|>"
ASK = "<|turn>model\n" + EMPTY_CHANNEL  # how a prompt ends with thinking off and nothing pending


def user(content):
    return {"role": "user", "content": content}


def assistant(content=None, **fields):
    return {"role": "assistant", "content": content, **fields}


def system(content):
    return {"role": "system", "content": content}


def tool(content, **fields):
    return {"role": "tool", "content": content, **fields}


def call(name, arguments=None, **fields):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def function(name, description=None, parameters=None, **fields):
    body = {"name": name, **fields}
    if description is not None:
        body["description"] = description
    if parameters is not None:
        body["parameters"] = parameters
    return {"type": "function", "function": body}


def text(value):
    return {"type": "text", "text": value}


def schema(properties, required=None):
    body = {"type": "object", "properties": properties}
    if required is not None:
        body["required"] = required
    return body


WEATHER = function(
    "get_weather",
    "Get current weather",
    schema(
        {
            "city": {"type": "string", "description": "City name"},
            "unit": {"type": "string", "enum": ["c", "f"]},
        },
        ["city"],
    ),
)
WEATHER_TEXT = (
    '<|tool>declaration:get_weather{description:<|"|>Get current weather<|"|>,parameters:{properties:{city:{'
    'description:<|"|>City name<|"|>,type:<|"|>STRING<|"|>},unit:{enum:[<|"|>c<|"|>,<|"|>f<|"|>],'
    'type:<|"|>STRING<|"|>}},required:[<|"|>city<|"|>],type:<|"|>OBJECT<|"|>}}<tool|>'
)
WEATHER_CALL = call("get_weather", {"unit": "c", "city": "Zürich"})
WEATHER_CALL_TEXT = '<|tool_call>call:get_weather{city:<|"|>Zürich<|"|>,unit:<|"|>c<|"|>}<tool_call|>'
WEATHER_VALUE = '<|tool_response>response:get_weather{value:<|"|>%s<|"|>}<tool_response|>'
WEATHER_LOOP = [
    user("Weather?"),
    assistant(reasoning="need tool", tool_calls=[WEATHER_CALL]),
    tool('{"temp": 20}'),
]
WEATHER_HEAD = "<bos><|turn>system\n<|think|>\n" + WEATHER_TEXT + "<turn|>\n<|turn>user\nWeather?<turn|>\n<|turn>model\n"
WEATHER_HEAD_OFF = WEATHER_HEAD.replace("<|think|>\n", "")
NEED_TOOL = "<|channel>thought\nneed tool\n<channel|>"
X_HEAD = "<bos><|turn>user\nx<turn|>\n<|turn>model\n"

BOOK = function(
    "book",
    "Book",
    schema(
        {
            "tags": {"type": "array", "items": {"type": "string"}, "description": "Tags"},
            "opts": {
                "type": "object",
                "properties": {"n": {"type": "integer"}, "B": {"type": ["string", "null"]}},
                "required": ["n"],
            },
            "free": {"type": "object", "description": "any"},
            "x": {"type": "number", "nullable": True, "description": "num"},
            "rows": {
                "type": "array",
                "items": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]},
            },
        },
        ["tags", "opts"],
    ),
)
BOOK_TEXT = (
    '<|tool>declaration:book{description:<|"|>Book<|"|>,parameters:{properties:{free:{description:<|"|>any<|"|>,'
    'properties:{},type:<|"|>OBJECT<|"|>},opts:{properties:{B:{type:<|"|>[\'STRING\', \'NULL\']<|"|>},n:{'
    'type:<|"|>INTEGER<|"|>}},required:[<|"|>n<|"|>],type:<|"|>OBJECT<|"|>},rows:{items:{properties:{k:{'
    'type:<|"|>STRING<|"|>}},required:[<|"|>k<|"|>],type:<|"|>OBJECT<|"|>},type:<|"|>ARRAY<|"|>},tags:{'
    'description:<|"|>Tags<|"|>,items:{type:<|"|>STRING<|"|>},type:<|"|>ARRAY<|"|>},x:{description:<|"|>num<|"|>,'
    'nullable:true,type:<|"|>NUMBER<|"|>}},required:[<|"|>tags<|"|>,<|"|>opts<|"|>],type:<|"|>OBJECT<|"|>}}<tool|>'
)
ITEMS = function(
    "pick",
    "Pick",
    schema({"p": {"type": "array", "items": {"type": "string", "enum": ["p", "q"], "minLength": 1, "nested": {"Zk": 1, "b": True}}}}),
)
ARGUMENTS = {
    "flag": False,
    "key with space": 1.5e-05,
    "none": None,
    "obj": {"a": [1, "t"], "B": 1},
    "s": 'x,y} "q"',
    "big": 10000000000000000000000,
    "f1": 1.0,
}


def declared(tools_text, ask=ASK):
    return "<bos><|turn>system\n" + tools_text + "<turn|>\n<|turn>user\nx<turn|>\n" + ask


TWO_ROUNDS = [
    user("Weather?"),
    assistant(reasoning="r1", tool_calls=[WEATHER_CALL]),
    tool("A"),
    assistant(reasoning="r2", tool_calls=[call("g", {})]),
    tool("B"),
]
PARALLEL = [
    user("Weather?"),
    assistant(tool_calls=[call("get_weather", {"city": "Bern"}, id="1"), call("g", None, id="2")]),
    tool("B", tool_call_id="2"),
    tool("A", tool_call_id="1"),
]
CHECKING = [user("x"), assistant("Let me check.", tool_calls=[call("get_weather", {})]), tool("r")]
AFTER_LOOP = WEATHER_LOOP + [assistant("It is 20C.", reasoning="done"), user("thanks")]

WORKED = [
    dict(name="E1", messages=[user("Hello")], expected="<bos><|turn>user\nHello<turn|>\n" + ASK),
    dict(name="E2", messages=[user("Hello")], enable_thinking=True,
         expected="<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nHello<turn|>\n<|turn>model\n"),
    dict(name="E3", messages=[system(" You are terse. "), user("Hi\n")],
         expected="<bos><|turn>system\nYou are terse.<turn|>\n<|turn>user\nHi<turn|>\n" + ASK),
    dict(name="E3-thinking", messages=[system(" You are terse. "), user("Hi\n")], enable_thinking=True,
         expected="<bos><|turn>system\n<|think|>\nYou are terse.<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n"),
    dict(name="E4", messages=[user("a"), assistant("<|channel>thought\nold\n<channel|>b"), user("c")],
         expected="<bos><|turn>user\na<turn|>\n<|turn>model\nb<turn|>\n<|turn>user\nc<turn|>\n" + ASK),
    dict(name="E4-reasoning", messages=[user("a"), assistant("b", reasoning_content="old"), user("c")],
         expected="<bos><|turn>user\na<turn|>\n<|turn>model\nb<turn|>\n<|turn>user\nc<turn|>\n" + ASK),
    dict(name="E5", messages=[user("Weather?")], tools=[WEATHER],
         expected="<bos><|turn>system\n" + WEATHER_TEXT + "<turn|>\n<|turn>user\nWeather?<turn|>\n" + ASK),
    dict(name="E5-system", messages=[system("Be nice."), user("Weather?")], tools=[WEATHER], enable_thinking=True,
         expected="<bos><|turn>system\n<|think|>\nBe nice." + WEATHER_TEXT
         + "<turn|>\n<|turn>user\nWeather?<turn|>\n<|turn>model\n"),
    dict(name="E6", messages=WEATHER_LOOP, tools=[WEATHER], enable_thinking=True,
         expected=WEATHER_HEAD + NEED_TOOL + WEATHER_CALL_TEXT + WEATHER_VALUE % '{"temp": 20}' + "<|channel>thought\n"),
    dict(name="E6-off", messages=WEATHER_LOOP, tools=[WEATHER],
         expected=WEATHER_HEAD_OFF + NEED_TOOL + WEATHER_CALL_TEXT + WEATHER_VALUE % '{"temp": 20}'),
    dict(name="E7", messages=AFTER_LOOP, tools=[WEATHER], enable_thinking=True,
         expected=WEATHER_HEAD + WEATHER_CALL_TEXT + WEATHER_VALUE % '{"temp": 20}'
         + "It is 20C.<turn|>\n<|turn>user\nthanks<turn|>\n<|turn>model\n"),
    dict(name="E7-preserve", messages=AFTER_LOOP, tools=[WEATHER], enable_thinking=True, preserve_thinking=True,
         expected=WEATHER_HEAD + NEED_TOOL + WEATHER_CALL_TEXT + WEATHER_VALUE % '{"temp": 20}'
         + "It is 20C.<turn|>\n<|turn>user\nthanks<turn|>\n<|turn>model\n"),
    dict(name="E8", messages=[user("x"), assistant(tool_calls=[call("f")])],
         expected=X_HEAD + "<|tool_call>call:f{}<tool_call|><|tool_response>"),
    dict(name="E9", messages=TWO_ROUNDS, tools=[WEATHER], enable_thinking=True,
         expected=WEATHER_HEAD + "<|channel>thought\nr1\n<channel|>" + WEATHER_CALL_TEXT + WEATHER_VALUE % "A"
         + "<|channel>thought\nr2\n<channel|><|tool_call>call:g{}<tool_call|>"
         + '<|tool_response>response:g{value:<|"|>B<|"|>}<tool_response|><|channel>thought\n'),
    dict(name="E10", messages=PARALLEL, tools=[WEATHER],
         expected=WEATHER_HEAD_OFF + '<|tool_call>call:get_weather{city:<|"|>Bern<|"|>}<tool_call|>'
         + '<|tool_call>call:g{}<tool_call|><|tool_response>response:g{value:<|"|>B<|"|>}<tool_response|>'
         + WEATHER_VALUE % "A"),
    dict(name="E11", messages=[user("x"), assistant(tool_calls=[call("f", ARGUMENTS)])],
         expected=X_HEAD + "<|tool_call>call:f{big:10000000000000000000000,f1:1.0,flag:false,key with space:1.5e-05,"
         + 'none:null,obj:{a:[1,<|"|>t<|"|>],B:1},s:<|"|>x,y} "q"<|"|>}<tool_call|><|tool_response>'),
    dict(name="E12",
         messages=[user("x"), assistant(tool_calls=[call("get_weather", {})],
                                        tool_responses=[{"name": "get_weather",
                                                         "response": {"temp": 20, "ok": True, "l": ["a", None]}}])],
         expected=X_HEAD + "<|tool_call>call:get_weather{}<tool_call|>"
         + '<|tool_response>response:get_weather{l:[<|"|>a<|"|>,null],ok:true,temp:20}<tool_response|>'),
    dict(name="E13", messages=[user("x")], tools=[BOOK], expected=declared(BOOK_TEXT)),
    dict(name="E14", messages=[user("x")],
         tools=[function("ping", "Ping", {"type": "object", "properties": {}}), function("ping", "Ping")],
         expected=declared('<|tool>declaration:ping{description:<|"|>Ping<|"|>,parameters:{type:<|"|>OBJECT<|"|>}}<tool|>'
                           + '<|tool>declaration:ping{description:<|"|>Ping<|"|>}<tool|>')),
    dict(name="E15", messages=[user("x")], tools=[ITEMS],
         expected=declared('<|tool>declaration:pick{description:<|"|>Pick<|"|>,parameters:{properties:{p:{items:{enum:['
                           + '<|"|>p<|"|>,<|"|>q<|"|>],minLength:1,nested:{<|"|>b<|"|>:true,<|"|>Zk<|"|>:1},'
                           + 'type:<|"|>STRING<|"|>},type:<|"|>ARRAY<|"|>}},type:<|"|>OBJECT<|"|>}}<tool|>')),
    dict(name="E16", messages=[user([{"type": "image"}, text("What is it?"), {"type": "audio"}, {"type": "video"}])],
         expected="<bos><|turn>user\n<|image|>What is it?<|audio|><|video|><turn|>\n" + ASK),
    dict(name="E16-text", messages=[user([text(" a "), text(" b ")])],
         expected="<bos><|turn>user\nab<turn|>\n" + ASK),
    dict(name="E17", messages=[user("x"), assistant("a"), assistant("b"), user("y")],
         expected=X_HEAD + "ab<turn|>\n<|turn>user\ny<turn|>\n" + ASK),
    dict(name="E17-systems", messages=[system("one"), system("two"), user("")],
         expected="<bos><|turn>system\none<turn|>\n<|turn>system\ntwo<turn|>\n<|turn>user\n<turn|>\n" + ASK),
    dict(name="E18", messages=CHECKING,
         expected=X_HEAD + "<|tool_call>call:get_weather{}<tool_call|>" + WEATHER_VALUE % "r" + "Let me check.<turn|>\n"),
    dict(name="E18-thinking", messages=CHECKING, enable_thinking=True,
         expected="<bos><|turn>system\n<|think|>\n<turn|>\n" + X_HEAD[5:] + "<|tool_call>call:get_weather{}<tool_call|>"
         + WEATHER_VALUE % "r" + "Let me check.<turn|>\n<|channel>thought\n"),
]

DEEP = function(
    "plan_trip",
    'Plans a "trip"; needs dates',
    schema(
        {
            "legs": {
                "type": "array",
                "description": "Stages in order",
                "items": {
                    "type": "object",
                    "description": "One stage",
                    "properties": {
                        "to": {"type": "string", "enum": ["Oslo", "Århus", "東京"]},
                        "stay": {
                            "type": "object",
                            "description": "Where to sleep",
                            "properties": {
                                "nights": {"type": "integer", "minimum": 1},
                                "Hotel": {"type": "boolean", "nullable": True, "description": "hotel or hut"},
                                "extras": {"type": "array", "items": {"type": ["string", "integer"]}},
                            },
                            "required": ["nights"],
                        },
                    },
                    "required": ["to", "stay"],
                },
            },
            "budget": {"type": "number", "description": "in €", "default": 12.5},
            "Anything": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "options": {"type": "object", "additionalProperties": False},
            "description": {"type": "string", "description": "a field whose name is a keyword"},
            "empty_items": {"type": "array", "items": {}},
            "level": {"type": "integer", "enum": [1, 2, 3], "description": "enumerated number"},
        },
        ["legs", "budget"],
    ),
    response={"type": "object", "description": "The plan"},
)

OTHERS = [
    dict(name="no-generation-prompt", messages=[user("Hello"), assistant("Hi there.")], add_generation_prompt=False),
    dict(name="developer", messages=[{"role": "developer", "content": "Answer in French."}, user("Bonjour ?")]),
    dict(name="developer-late", messages=[user("a"), {"role": "developer", "content": " be brief "}, user("b")]),
    dict(name="system-parts", messages=[system([text(" one "), text("two\n")]), user("go")]),
    dict(name="system-null", messages=[{"role": "system", "content": None}, user("go")]),
    dict(name="system-only", messages=[system("Only rules.")]),
    dict(name="other-role", messages=[{"role": "narrator", "content": " Once. "}, user("and then?")]),
    dict(name="white-space", messages=[user("\n\t  tabs and\u00a0no-break\u2003spaces \u2028\n"), assistant("  ok \n"), user(" . ")]),
    dict(name="multi-turn", messages=[user("Name a river."), assistant("The Rhine."), user("Another."), assistant("The Aare."), user("Its length?")]),
    dict(name="multi-turn-thoughts", enable_thinking=True,
         messages=[user("Name a river."), assistant("The Rhine.", reasoning="rivers: Rhine"), user("Another."),
                   assistant("<|channel>thought\nnot the Rhine again\n<channel|>The Aare."), user("Its length?")]),
    dict(name="thought-after-last-user", enable_thinking=True, add_generation_prompt=False,
         messages=[user("7 times 8?"), assistant("56", reasoning=" 7*8=56 ")]),
    dict(name="thought-of-another-role", messages=[user("q"), {"role": "narrator", "content": "n", "reasoning": "odd but allowed"}]),
    dict(name="reasoning-first-wins", add_generation_prompt=False,
         messages=[user("q"), assistant("a", reasoning="first", reasoning_content="second")]),
    dict(name="reasoning-empty-falls-through", add_generation_prompt=False,
         messages=[user("q"), assistant("a", reasoning="", reasoning_content="second")]),
    dict(name="several-thoughts-in-content",
         messages=[user("a"), assistant("x<|channel>thought\n1\n<channel|> y <|channel>thought\n2\n<channel|>z"), user("b")]),
    dict(name="open-thought-in-content", messages=[user("a"), assistant("said<|channel>thought\nnever closed"), user("b")]),
    dict(name="content-parts-of-model", messages=[user("a"), assistant([text(" p "), text("<|channel>q<channel|>r")]), user("b")]),
    dict(name="images-and-text", messages=[user([{"type": "image"}, text("one or "), {"type": "image_url", "image_url": {"url": "b.png"}}, text("two?")])]),
    dict(name="audio-only", messages=[user([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}])]),
    dict(name="video-thinking", enable_thinking=True, messages=[user([{"type": "video"}, text("What happens?")])]),
    dict(name="unknown-part", messages=[user([text("a"), {"type": "file", "file": {}}, text("b")])]),
    dict(name="media-in-history", messages=[user([{"type": "image"}, text("Colour?")]), assistant("Red."), user([{"type": "audio"}, text("And this word?")])]),
    dict(name="tool-nested", messages=[system("Be exact."), user("Plan.")], tools=[DEEP, WEATHER]),
    dict(name="tool-nested-thinking", enable_thinking=True, messages=[user("Plan.")], tools=[BOOK, DEEP]),
    dict(name="tool-no-description", messages=[user("x")], tools=[function("bare"), function("typed", "", schema({"a": {}}))]),
    dict(name="tool-no-type", messages=[user("x")], tools=[function("t", "d", {"properties": {"a": {"type": "string"}}, "required": ["a"]})]),
    dict(name="tool-response-schema", messages=[user("x")], tools=[function("t", "d", schema({}), response={"type": "object"})]),
    dict(name="tool-key-order", messages=[user("x"), assistant(tool_calls=[call("f", {"b": 1, "A": 2, "a": 3, "B": 4, "ä": 5, "_": 6, "Z z": {"y": [], "X": {}}})])]),
    dict(name="numbers", messages=[user("x"), assistant(tool_calls=[call("f", {"a": 0, "b": -7, "c": 1e16, "d": 1e15, "e": 0.0001, "f": 0.00001, "g": 1000.0, "h": 123456789012345678, "i": 0.1, "j": 3.141592653589793, "k": -0.0})])]),
    dict(name="strings", messages=[user("x"), assistant(tool_calls=[call("f", {"q": 'a "b" \'c\' \\n', "n": "line\nfeed\ttab", "u": "naïve 🙂 東京", "e": "", "j": '{"k":[1,2]}'})])]),
    dict(name="tool-parts", messages=[user("x"), assistant(tool_calls=[call("look", {})]), tool([text(" seen: "), {"type": "image"}, text("ok")])]),
    dict(name="tool-null", messages=[user("x"), assistant(tool_calls=[call("f", {})]), tool(None)]),
    dict(name="tool-number", messages=[user("x"), assistant(tool_calls=[call("f", {})]), tool(42)]),
    dict(name="tool-by-name", messages=[user("x"), assistant(tool_calls=[call("f", {}, id="c1")]), tool("r", tool_call_id="zz", name="g")]),
    dict(name="tool-unknown", messages=[user("x"), assistant(tool_calls=[call("f", {}, id="c1")]), tool("r", tool_call_id="zz")]),
    dict(name="tool-same-id-twice", messages=[user("x"), assistant(tool_calls=[call("f", {}, id="c"), call("g", {}, id="c")]), tool("r", tool_call_id="c")]),
    dict(name="tool-orphan", messages=[user("x"), tool("nobody asked"), assistant("y"), user("z")]),
    dict(name="tool-legacy", messages=[user("x"), assistant(tool_calls=[call("f", {})], tool_responses=[{"name": "f", "response": "plain"}, {"name": "", "response": {"b": 1, "a": None}}])]),
    dict(name="tool-answered", tools=[WEATHER], messages=WEATHER_LOOP + [assistant("20 degrees.")], add_generation_prompt=False),
    dict(name="tool-answered-then-asked", tools=[WEATHER], messages=WEATHER_LOOP + [assistant("20 degrees."), user("And in Bern?")]),
    dict(name="tool-two-loops", tools=[WEATHER], enable_thinking=True, messages=TWO_ROUNDS + [assistant("Done.", reasoning="r3")], add_generation_prompt=False),
    dict(name="tool-preserve-two", tools=[WEATHER], preserve_thinking=True, messages=TWO_ROUNDS + [assistant("Done."), user("more"), *PARALLEL[1:]]),
    dict(name="call-then-assistant", messages=[user("x"), assistant(tool_calls=[call("f", {})]), tool("r"), assistant("so"), assistant("what")]),
    dict(name="pending-call-then-user", messages=[user("x"), assistant(tool_calls=[call("f", {})]), user("never mind")]),
    dict(name="call-without-object", messages=[user("x"), assistant("", tool_calls=[call("f", None), call("g", {})])]),
    dict(name="empty-assistant", messages=[user("x"), assistant(""), user("y")]),
    dict(name="null-content", messages=[user(None), assistant(None), user("y")]),
    dict(name="marker-text", messages=[user("What does <turn|> mean, and <|image|>?")]),
    dict(name="languages", messages=[user("Grüße, 你好, こんにちは, שלום, مرحبا, नमस्ते! 👩‍👩‍👧‍👦 e\u0301 ≠ é")]),
    dict(name="code", messages=[user("```python\ndef f(x):\n    return {\n        'a': [x, x * 2],\n    }\n\n\n```\n\n   indented")]),
]
