"""Renders worked examples of the prompt format with models/demo/chat_template.jinja; any difference ends with status 1."""

import json
import pathlib
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

TEMPLATE = pathlib.Path(__file__).resolve().parents[2] / "models/demo/chat_template.jinja"
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Get current weather",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "City name"}, "unit": {"type": "string", "enum": ["c", "f"]}}}}}
DECLARED = (
    '<|tool>declaration:get_weather{description:<|"|>Get current weather<|"|>,parameters:{properties:{city:{description:'
    '<|"|>City name<|"|>,type:<|"|>STRING<|"|>},unit:{enum:[<|"|>c<|"|>,<|"|>f<|"|>],type:<|"|>STRING<|"|>}},required:['
    '<|"|>city<|"|>],type:<|"|>OBJECT<|"|>}}<tool|>')
CALL = '<|tool_call>call:get_weather{city:<|"|>Zürich<|"|>,unit:<|"|>c<|"|>}<tool_call|>'
RESULT = '<|tool_response>response:get_weather{value:<|"|>{"temp": 20}<|"|>}<tool_response|>'
EMPTY = "<|channel>thought\n<channel|>"


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def function(name, parameters=None, **more):
    body = {"name": name, **more}
    if parameters is not None:
        body["parameters"] = parameters
    return {"type": "function", "function": body}


def examples():
    """Yields (name, messages, options, expected)."""
    def u(text):
        return {"role": "user", "content": text}

    def a(text, **more):
        return {"role": "assistant", "content": text, **more}

    def turn(role, text):
        return f"<|turn>{role}\n{text}<turn|>\n"

    on, off = {"enable_thinking": True}, {}
    tail = "<|turn>model\n"
    yield "hello", [u("Hello")], off, "<bos>" + turn("user", "Hello") + tail + EMPTY
    yield "hello, thinking", [u("Hello")], on, "<bos>" + turn("system", "<|think|>\n") + turn("user", "Hello") + tail
    terse = [{"role": "system", "content": " You are terse. "}, u("Hi\n")]
    yield "system", terse, off, "<bos>" + turn("system", "You are terse.") + turn("user", "Hi") + tail + EMPTY
    yield "system, thinking", terse, on, "<bos>" + turn("system", "<|think|>\nYou are terse.") + turn("user", "Hi") + tail
    past = "<bos>" + turn("user", "a") + turn("model", "b") + turn("user", "c") + tail + EMPTY
    yield "old thought in the text", [u("a"), a("<|channel>thought\nold\n<channel|>b"), u("c")], off, past
    yield "old thought", [u("a"), a("b", reasoning_content="old"), u("c")], off, past
    yield "tool", [u("Weather?")], {"tools": [WEATHER]}, (
        "<bos>" + turn("system", DECLARED) + turn("user", "Weather?") + tail + EMPTY)
    called = [u("Weather?"), a(None, reasoning="need tool", tool_calls=[
        call("get_weather", {"unit": "c", "city": "Zürich"})]), {"role": "tool", "content": '{"temp": 20}'}]
    thought = "<|channel>thought\nneed tool\n<channel|>"
    yield "tool result, thinking", called, {"tools": [WEATHER], **on}, (
        "<bos>" + turn("system", "<|think|>\n" + DECLARED) + turn("user", "Weather?") + tail + thought + CALL + RESULT
        + "<|channel>thought\n")
    yield "tool result", called, {"tools": [WEATHER]}, (
        "<bos>" + turn("system", DECLARED) + turn("user", "Weather?") + tail + thought + CALL + RESULT)
    finished = called + [a("It is 20C.", reasoning="done"), u("thanks")]
    for preserve in (False, True):
        yield f"tool round in the past, preserve {preserve}", finished, {
            "tools": [WEATHER], **on, "preserve_thinking": preserve}, (
            "<bos>" + turn("system", "<|think|>\n" + DECLARED) + turn("user", "Weather?") + tail
            + (thought if preserve else "") + CALL + RESULT + "It is 20C.<turn|>\n" + turn("user", "thanks") + tail)
    yield "call without result", [u("x"), a(None, tool_calls=[call("f", None)])], off, (
        "<bos>" + turn("user", "x") + tail + "<|tool_call>call:f{}<tool_call|><|tool_response>")
    yield "two rounds", [
        u("x"), a(None, reasoning="r1", tool_calls=[call("get_weather", {})]), {"role": "tool", "content": "A"},
        a(None, reasoning="r2", tool_calls=[call("g", {})]), {"role": "tool", "content": "B"}], on, (
        "<bos>" + turn("system", "<|think|>\n") + turn("user", "x") + tail + "<|channel>thought\nr1\n<channel|>"
        '<|tool_call>call:get_weather{}<tool_call|><|tool_response>response:get_weather{value:<|"|>A<|"|>}<tool_response|>'
        '<|channel>thought\nr2\n<channel|><|tool_call>call:g{}<tool_call|>'
        '<|tool_response>response:g{value:<|"|>B<|"|>}<tool_response|><|channel>thought\n')
    yield "parallel calls", [
        u("x"), a(None, tool_calls=[call("get_weather", {}, id="1"), call("g", {}, id="2")]),
        {"role": "tool", "content": "B", "tool_call_id": "2"}, {"role": "tool", "content": "A", "tool_call_id": "1"}], off, (
        "<bos>" + turn("user", "x") + tail + "<|tool_call>call:get_weather{}<tool_call|><|tool_call>call:g{}<tool_call|>"
        '<|tool_response>response:g{value:<|"|>B<|"|>}<tool_response|>'
        '<|tool_response>response:get_weather{value:<|"|>A<|"|>}<tool_response|>')
    arguments = json.loads('{"flag":false,"key with space":1.5e-05,"none":null,"obj":{"a":[1,"t"],"B":1},'
                           '"s":"x,y} \\"q\\"","big":10000000000000000000000,"f1":1.0}')
    yield "argument syntax", [u("x"), a(None, tool_calls=[call("f", arguments)])], off, (
        "<bos>" + turn("user", "x") + tail + "<|tool_call>call:f{big:10000000000000000000000,f1:1.0,flag:false,"
        'key with space:1.5e-05,none:null,obj:{a:[1,<|"|>t<|"|>],B:1},s:<|"|>x,y} "q"<|"|>}<tool_call|><|tool_response>')
    yield "object result", [u("x"), a(None, tool_calls=[call("get_weather", {})], tool_responses=[
        {"name": "get_weather", "response": {"temp": 20, "ok": True, "l": ["a", None]}}])], off, (
        "<bos>" + turn("user", "x") + tail + '<|tool_call>call:get_weather{}<tool_call|>'
        '<|tool_response>response:get_weather{l:[<|"|>a<|"|>,null],ok:true,temp:20}<tool_response|>')
    book = function("book", {"type": "object", "required": ["tags", "opts"], "properties": {
        "tags": {"type": "array", "description": "Tags", "items": {"type": "string"}},
        "opts": {"type": "object", "required": ["n"], "properties": {
            "n": {"type": "integer"}, "B": {"type": ["string", "null"]}}},
        "free": {"type": "object", "description": "any"},
        "x": {"type": "number", "nullable": True, "description": "num"},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}}}},
        description="Book")
    text = ("declaration:book{description:'Book',parameters:{properties:{free:{description:'any',properties:{},"
            "type:'OBJECT'},opts:{properties:{B:{type:'[\"STRING\", \"NULL\"]'},n:{type:'INTEGER'}},required:['n'],"
            "type:'OBJECT'},rows:{items:{properties:{k:{type:'STRING'}},required:['k'],type:'OBJECT'},type:'ARRAY'},"
            "tags:{description:'Tags',items:{type:'STRING'},type:'ARRAY'},x:{description:'num',nullable:true,"
            "type:'NUMBER'}},required:['tags','opts'],type:'OBJECT'}}").replace("'", '<|"|>').replace('["', "['").replace(
                '", "', "', '").replace('"]', "']").replace("<|'", '<|"').replace("['|>", '["|>')
    yield "nested declaration", [u("x")], {"tools": [book]}, (
        "<bos>" + turn("system", "<|tool>" + text + "<tool|>") + turn("user", "x") + tail + EMPTY)
    for name, parameters, body in (
            ("no properties", {"type": "object", "properties": {}}, ',parameters:{type:<|"|>OBJECT<|"|>}'),
            ("no parameters", None, "")):
        yield name, [u("x")], {"tools": [function("ping", parameters, description="Ping")]}, (
            "<bos>" + turn("system", '<|tool>declaration:ping{description:<|"|>Ping<|"|>' + body + "}<tool|>")
            + turn("user", "x") + tail + EMPTY)
    items = {"type": "string", "enum": ["p", "q"], "minLength": 1, "nested": {"Zk": 1, "b": True}}
    schema = {"type": "object", "properties": {"t": {"type": "array", "items": items}}}
    yield "items", [u("x")], {"tools": [function("ping", schema, description="Ping")]}, (
        "<bos>" + turn("system", '<|tool>declaration:ping{description:<|"|>Ping<|"|>,parameters:{properties:{t:{items:{'
                       'enum:[<|"|>p<|"|>,<|"|>q<|"|>],minLength:1,nested:{<|"|>b<|"|>:true,<|"|>Zk<|"|>:1},type:'
                       '<|"|>STRING<|"|>},type:<|"|>ARRAY<|"|>}},type:<|"|>OBJECT<|"|>}}<tool|>')
        + turn("user", "x") + tail + EMPTY)
    yield "media", [u([{"type": "image"}, {"type": "text", "text": "What is it?"}, {"type": "audio"},
                       {"type": "video"}])], off, (
        "<bos>" + turn("user", "<|image|>What is it?<|audio|><|video|>") + tail + EMPTY)
    yield "text parts", [u([{"type": "text", "text": " a "}, {"type": "text", "text": " b "}])], off, (
        "<bos>" + turn("user", "ab") + tail + EMPTY)
    yield "same turn", [u("x"), a("a"), a("b"), u("y")], off, (
        "<bos>" + turn("user", "x") + turn("model", "ab") + turn("user", "y") + tail + EMPTY)
    yield "two system messages", [{"role": "system", "content": "one"}, {"role": "system", "content": "two"}, u("")], off, (
        "<bos>" + turn("system", "one") + turn("system", "two") + turn("user", "") + tail + EMPTY)
    closing = [u("x"), a("Let me check.", tool_calls=[call("get_weather", {})]), {"role": "tool", "content": "r"}]
    start = ("<|tool_call>call:get_weather{}<tool_call|>"
             '<|tool_response>response:get_weather{value:<|"|>r<|"|>}<tool_response|>Let me check.<turn|>\n')
    yield "closed turn", closing, off, "<bos>" + turn("user", "x") + tail + start
    yield "closed turn, thinking", closing, on, (
        "<bos>" + turn("system", "<|think|>\n") + turn("user", "x") + tail + start + "<|channel>thought\n")


def main():
    template = _compile_jinja_template(TEMPLATE.read_text())
    failed = count = 0
    for name, messages, options, expected in examples():
        count += 1
        found = template.render(messages=messages, bos_token="<bos>", add_generation_prompt=True, **options)
        if found != expected:
            failed += 1
            print(f"{name}\n  expected {expected!r}\n  found    {found!r}")
    print(f"{count - failed} of {count} examples agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
