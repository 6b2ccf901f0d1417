"""Constrained output against Python's own jsonschema and re, on generated schemas and values, in both directions: what a
random walk over allowed tokens writes must satisfy the schema, what satisfies it (in the schema's order of properties) must
be accepted, and what does not must be refused. grammar_tool compares every mask on the way with the slow truth."""
import json
import random
import re
import string
import subprocess

import jsonschema
import pytest

SCHEMAS = 150


class Tool:
    def __init__(self, program, tokenizer):
        self.process = subprocess.Popen([str(program), str(tokenizer)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"grammar_tool ended at {request}"
        return json.loads(line)

    def compile(self, **request):
        assert self.ask(**request) == {"ok": True}, request

    def refused(self, **request):
        return self.ask(**request)["error"]

    def accepted(self, *texts):
        return self.ask(check=list(texts))["accepted"]

    def sample(self, count, seed, end=0.5):
        return [text for text in self.ask(sample=count, seed=seed, end=end)["texts"] if text is not None]


@pytest.fixture(scope="module")
def tool(tree):
    from conftest import PROGRAM
    program = PROGRAM.parent / "grammar_tool"
    assert program.exists(), f"{program} is not built"
    tool = Tool(program, tree / "models/demo")
    yield tool
    tool.process.stdin.close()
    assert tool.process.wait(timeout=30) == 0


class Generator:
    """Random schemas, and values that satisfy them by construction."""

    WORDS = ["a", "b", "name", "size", "né", "x y", 'q"t', "kind", "to\nline", "ключ"]

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.definitions = {}

    def root(self):
        schema = self.schema(0)
        if self.random.random() < 0.3:  # a list that refers to itself
            schema = {"$defs": {"node": {"type": "object", "properties": {"value": schema, "next": {
                "anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["value", "next"],
                "additionalProperties": False}}, "$ref": "#/$defs/node"}
        return schema

    def schema(self, depth):
        kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "pattern", "length", "range", "multiple",
                 "types", "format"]
        if depth < 3:
            kinds += ["object", "array", "tuple", "anyOf", "map", "allOf"] * 2
        return getattr(self, "make_" + self.random.choice(kinds))(depth)

    def make_string(self, depth): return {"type": "string"}
    def make_integer(self, depth): return {"type": "integer"}
    def make_number(self, depth): return {"type": "number"}
    def make_boolean(self, depth): return {"type": "boolean"}
    def make_null(self, depth): return {"type": "null"}
    def make_const(self, depth): return {"const": self.random.choice([1, "one", None, True, -2.5, [1, "x"], {"k": 1}])}
    def make_types(self, depth): return {"type": self.random.sample(["string", "integer", "null", "boolean"], 2)}
    def make_multiple(self, depth): return {"type": "integer", "multipleOf": self.random.choice([2, 3, 7, 10, 25])}

    def make_enum(self, depth):
        return {"enum": self.random.sample(["red", "green", "", 'a"b', 5, 0.5, False, None, "grün", "line\n"], 3)}

    def make_pattern(self, depth):
        return {"type": "string", "pattern": self.random.choice(PATTERNS)}

    def make_format(self, depth):
        return {"type": "string", "format": self.random.choice(["date", "time", "date-time", "uuid", "ipv4", "ipv6", "email"])}

    def make_length(self, depth):
        low = self.random.randint(0, 6)
        schema = {"type": "string", "minLength": low}
        if self.random.random() < 0.7:
            schema["maxLength"] = low + self.random.randint(0, 8)
        return schema

    def make_range(self, depth):
        kind = self.random.choice(["integer", "number"])
        schema = {"type": kind}
        scale = 10 ** self.random.randint(0, 4)
        low = self.random.randint(-3 * scale, 3 * scale)
        high = low + self.random.randint(2, 3 * scale)
        if kind == "number":
            low, high = low / self.random.choice([1, 2, 8, 10]), high + self.random.choice([0, 0.5, 0.25])
        if self.random.random() < 0.8:
            schema[self.random.choice(["minimum", "exclusiveMinimum"])] = low
        if self.random.random() < 0.8:
            schema[self.random.choice(["maximum", "exclusiveMaximum"])] = high
        return schema

    def make_object(self, depth):
        names = self.random.sample(self.WORDS, self.random.randint(0, 5))
        schema = {"type": "object", "properties": {name: self.schema(depth + 1) for name in names}}
        schema["required"] = [name for name in names if self.random.random() < 0.5]
        closed = self.random.random()
        if closed < 0.6:
            schema["additionalProperties"] = False
        elif closed < 0.8:
            schema["additionalProperties"] = self.schema(depth + 2)
        if self.random.random() < 0.15 and closed < 0.6:
            schema["minProperties"] = self.random.randint(0, len(names))
            schema["maxProperties"] = max(schema["minProperties"], len(schema["required"])) + self.random.randint(0, 1)
        return schema

    def make_map(self, depth):
        schema = {"type": "object", "additionalProperties": self.schema(depth + 1)}
        if self.random.random() < 0.3:
            schema["propertyNames"] = {"pattern": "^[a-z]{1,6}$"}
        if self.random.random() < 0.3:
            schema["patternProperties"] = {"^x-": self.schema(depth + 2)}
        return schema

    def make_array(self, depth):
        schema = {"type": "array", "items": self.schema(depth + 1)}
        if self.random.random() < 0.5:
            schema["minItems"] = self.random.randint(0, 3)
        if self.random.random() < 0.5:
            schema["maxItems"] = schema.get("minItems", 0) + self.random.randint(0, 3)
        return schema

    def make_tuple(self, depth):
        prefix = [self.schema(depth + 1) for _ in range(self.random.randint(1, 3))]
        schema = {"type": "array", "prefixItems": prefix, "items": self.random.choice([False, {"type": "integer"}])}
        if self.random.random() < 0.6:
            schema["minItems"] = self.random.randint(0, len(prefix))
        return schema

    def make_anyOf(self, depth): return {"anyOf": [self.schema(depth + 1) for _ in range(self.random.randint(1, 3))]}

    def make_allOf(self, depth):
        return {"allOf": [{"type": "object", "properties": {"a": self.schema(depth + 1)}, "required": ["a"]},
                          {"type": "object", "properties": {"b": self.schema(depth + 1), "a": {}}, "required": []}]}

    # Values that may or may not satisfy a schema: jsonschema decides.
    def value(self, schema, depth=0):
        choice = self.random.random()
        if schema is True or choice < 0.1 or depth > 6:
            return self.anything(depth)
        if "anyOf" in schema:
            return self.value(self.random.choice(schema["anyOf"]), depth)
        if "allOf" in schema:
            merged = {"type": "object", "properties": {}}
            for part in schema["allOf"]:
                for name, inner in part["properties"].items():
                    merged["properties"].setdefault(name, inner)
            return self.value(merged, depth)
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type", "null")
        kind = self.random.choice(kind) if isinstance(kind, list) else kind
        if kind == "null":
            return None
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "string":
            if "pattern" in schema and self.random.random() < 0.8:
                return self.random.choice(MATCHES[schema["pattern"]])
            if "format" in schema and self.random.random() < 0.8:
                return self.random.choice(FORMATTED[schema["format"]])
            return "".join(self.random.choices(string.ascii_letters + 'é"\\\n€😀 ', k=self.random.randint(0, 10)))
        if kind in ("integer", "number"):
            low = schema.get("minimum", schema.get("exclusiveMinimum", -50))
            high = schema.get("maximum", schema.get("exclusiveMaximum", 50))
            if kind == "integer":
                number = self.random.randint(int(low) - 2, max(int(high), int(low)) + 2)
                return number - number % schema.get("multipleOf", 1)
            return round(self.random.uniform(low - 1, high + 1), self.random.randint(0, 6))
        if kind == "array":
            prefix = [self.value(item, depth + 1) for item in schema.get("prefixItems", [])]
            items = schema.get("items", True)
            rest = [self.value(items, depth + 1) for _ in range(self.random.randint(0, 4))] if items is not False else []
            return (prefix + rest)[:self.random.choice([99, 99, 2])]
        properties = schema.get("properties", {})
        required = set(schema.get("required", []))
        value = {name: self.value(inner, depth + 1) for name, inner in properties.items()
                 if self.random.random() < (0.95 if name in required else 0.5)}
        if schema.get("additionalProperties", True) is not False and self.random.random() < 0.5:
            extra = schema.get("additionalProperties", True)
            value[self.random.choice(["extra", "zé", "x-1"])] = self.value(extra, depth + 1)
        return value

    def anything(self, depth):
        return self.random.choice([None, True, 0, -3, 1.5, "", "x", [], [1, {"a": []}], {}, {"a": 1, "b": ["c"]}])


MATCHES = {
    "^[a-c]+$": ["a", "cab", "d", ""],
    "^[A-Z]{2,4}-[0-9]{3}$": ["AB-123", "ABCD-000", "A-123", "ABCDE-123"],
    "b": ["abc", "b", "xyz"],
    "^(foo|bar)?x*$": ["foo", "barxx", "", "x", "baz"],
    "\\d{4}$": ["1234", "year 2024", "123"],
    "^é.\\u20ac?$": ["éa", "é😀€", "ea"],
    "^[^\"\\\\]{1,5}$": ["abc", "", "a\"b", "a\\b", "\n\t"],
    "^\\S+@\\S+$": ["a@b", "@", "a b@c"],
}
PATTERNS = sorted(MATCHES)
FORMATTED = {
    "date": ["2024-02-29", "2023-02-29", "1999-12-31", "2000-00-01", "1900-02-29"],
    "time": ["12:30:00Z", "23:59:59.5+01:00", "24:00:00Z"],
    "date-time": ["2024-02-29T12:30:00Z", "2024-13-01T00:00:00Z", "2020-01-01T00:00:00.123-08:00"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"],
    "ipv4": ["1.2.3.4", "255.255.255.255", "256.1.1.1", "1.2.3"],
    "ipv6": ["::1", "2001:db8::ff00:42:8329", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", ":::", "1::2::3"],
    "email": ["a@b.c", "first.last@example.org", "a b@c"],
}
# jsonschema needs further packages to check these formats, so the standard library says what they are.
CHECKED = {"date", "ipv4", "ipv6", "uuid"}
HARD_FORMATS = ("time", "date-time", "email")


def in_schema_order(value, schema, root):
    """The value with its keys in the order in which the grammar writes them; None where a union leaves that open."""
    if "$ref" in schema:
        return in_schema_order(value, root["$defs"]["node"], root)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        keys = [key for key in properties if key in value] + [key for key in value if key not in properties]
        inner = {key: properties.get(key, schema.get("additionalProperties", True)) for key in keys}
        return {key: in_schema_order(value[key], inner[key] if isinstance(inner[key], dict) else {}, root) for key in keys}
    return value


def uses(schema, *words):
    text = json.dumps(schema)
    return any(f'"{word}"' in text for word in words)


def test_generated_schemas(tool):
    checker = jsonschema.FormatChecker(CHECKED)
    sampled = accepted = refused = impossible = 0
    for seed in range(SCHEMAS):
        generator = Generator(seed)
        schema = generator.root()
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        reply = tool.ask(schema=schema, compact=seed % 3 == 0)
        if "error" in reply:
            assert "no value satisfies" in reply["error"], (seed, reply, schema)
            impossible += 1
            continue
        for text in tool.sample(4, seed):
            value = json.loads(text)
            errors = [error.message for error in validator.iter_errors(value)]
            assert not errors, (seed, schema, text, errors)
            sampled += 1
        values = [generator.value(schema if "$defs" not in schema else schema["$defs"]["node"]["properties"]["value"])
                  for _ in range(12)]
        if "$defs" in schema:
            values = [{"value": value, "next": None} for value in values] + \
                [{"value": values[0], "next": {"value": values[1], "next": None}}, {"value": values[0]}]
        # In a union the order of keys depends on the branch, and the last three formats are not judged by jsonschema.
        for value in values:
            good = validator.is_valid(value)
            if good and (uses(schema, "anyOf", "allOf") and isinstance(value, (dict, list)) or uses(schema, *HARD_FORMATS)):
                continue
            separators = (",", ":") if seed % 3 == 0 else generator.random.choice([(",", ":"), (", ", ": ")])
            text = json.dumps(in_schema_order(value, schema, schema), ensure_ascii=False, separators=separators)
            assert tool.accepted(text) == [good], (seed, schema, text, good)
            accepted, refused = accepted + good, refused + (not good)
    print(f"{sampled} sampled, {accepted} accepted, {refused} refused, {impossible} schemas without values")
    assert sampled > 350 and accepted > 400 and refused > 200 and impossible < SCHEMAS / 5


@pytest.mark.parametrize("pattern", PATTERNS + ["a{3}", "(a|b)*abb", "[\\w.-]{2,}", "x?y?z?", "\\s*(yes|no)\\s*", "(?:ab){2,3}c+"])
def test_patterns_against_re(tool, pattern):
    flags = re.ASCII if "\\w" in pattern else 0  # \w is ASCII in ECMA-262
    tool.compile(regex=pattern)
    for text in tool.sample(6, 7):
        # Whole matches; ^ and $ change nothing then.
        assert re.fullmatch(pattern, text, flags), (pattern, text)
    generator = random.Random(pattern)
    alphabet = "abcxyz013-AB .\n€é"
    texts = ["".join(generator.choices(alphabet, k=generator.randint(0, 5))) for _ in range(60)]
    texts += MATCHES.get(pattern, []) + ["aaa", "abb", "babb", "yes", " no", "ababc", "abababcc", "xz"]
    expected = [re.fullmatch(pattern.replace("$", r"\Z"), text, flags) is not None for text in texts]
    assert tool.accepted(*texts) == expected


@pytest.mark.parametrize("schema, pointer", [
    ({"not": {"type": "null"}}, "#/not"),
    ({"type": "object", "properties": {"a/b": {"type": "array", "uniqueItems": True}}}, "#/properties/a~1b/uniqueItems"),
    ({"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)"}}}, "#/properties/a/pattern"),
    ({"type": "object", "properties": {"a": {"type": "string", "pattern": "(a)\\1"}}}, "#/properties/a/pattern"),
    ({"$ref": "http://example.org/schema"}, "#/$ref"),
    ({"$ref": "#/$defs/none"}, "#/$ref"),
    ({"type": "text"}, "#/type"),
    ({"items": 5, "type": "array"}, "#/items"),
    ({"oneOf": [{"type": "string"}, {"type": "string", "minLength": 2}]}, "#/oneOf"),
    ({"type": "number", "multipleOf": 0.01}, "#/multipleOf"),
    ({"type": "string", "minLength": -1}, "#/minLength"),
    ({"type": "object", "required": ["a"], "additionalProperties": False}, "#"),
    ({"$defs": {"t": {"type": "object", "properties": {"t": {"$ref": "#/$defs/t"}}, "required": ["t"]}}, "$ref": "#/$defs/t"}, "#"),
    ({"type": "string", "pattern": "(a|b)*a(a|b){20}"}, "#/pattern"),
    ({"type": "string", "pattern": "((a{900}){900}){900}"}, "#/pattern"),
])
def test_what_cannot_be_honoured_is_refused_with_its_pointer(tool, schema, pointer):
    assert f"{pointer}: " in tool.refused(schema=schema)


def test_lenient_leaves_out_what_it_cannot_honour(tool):
    tool.compile(schema={"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, strict=False)
    assert tool.accepted("[1, 1]", "[1, 2]", '["a"]') == [True, True, False]


def test_unions_told_apart(tool):
    def branch(kind, key):
        return {"type": "object", "properties": {"kind": {"const": kind}, key: {"type": "integer"}},
                "required": ["kind", key], "additionalProperties": False}
    tool.compile(schema={"oneOf": [branch("circle", "radius"), branch("square", "side")]})
    assert tool.accepted('{"kind": "circle", "radius": 1}', '{"kind":"square","side":2}', '{"kind":"square","radius":2}') == \
        [True, True, False]


def test_large_and_hostile_schemas_are_bounded(tool):
    import time
    start = time.monotonic()
    tool.compile(schema={"enum": [f"value number {i}" for i in range(10000)]})
    assert tool.accepted('"value number 77"', '"value number 10000"') == [True, False]
    nested = {"type": "integer"}
    for _ in range(40):
        nested = {"type": "array", "items": nested}
    tool.compile(schema=nested)
    assert tool.accepted("[" * 40 + "5" + "]" * 40) == [True]
    twice = {"$defs": {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}}
    twice["$defs"]["d40"] = {"type": "integer"}
    twice["$ref"] = "#/$defs/d0"
    tool.compile(schema=twice)
    same = {"type": "object", "properties": {"x": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"type": "null"}]}},
            "required": ["x"]}
    tool.compile(schema={"$defs": {"a": same, "b": {**same, "additionalProperties": False}}, "$ref": "#/$defs/a"})
    assert tool.accepted('{"x":' * 30 + "null" + "}" * 30) == [True]
    assert time.monotonic() - start < 20


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"unit": {"enum": ["c", "f"]}, "city": {"type": "string", "minLength": 1},
                                         "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "ns/do.thing", "strict": True, "parameters": {
        "type": "object", "properties": {"rows": {"type": "array", "items": {"$ref": "#/$defs/row"}}, "a:b": {"type": "boolean"}},
        "required": ["rows"], "additionalProperties": False,
        "$defs": {"row": {"type": "object", "properties": {"k": {"type": "number"}}, "required": ["k"],
                          "additionalProperties": False}}}}},
    {"type": "function", "function": {"name": "ping"}},
]
QUOTE = '<|"|>'


def parse_call(text):
    """An independent reader of call:NAME{...}."""
    name, rest = re.match(r"call:([^{]*)(.*)\Z", text, re.S).groups()

    def value(at):
        if rest.startswith(QUOTE, at):
            end = rest.index(QUOTE, at + len(QUOTE))
            return rest[at + len(QUOTE):end], end + len(QUOTE)
        if rest[at] == "[":
            out, at = [], at + 1
            while rest[at] != "]":
                at += rest[at] == ","
                item, at = value(at)
                out.append(item)
            return out, at + 1
        if rest[at] == "{":
            out, at = {}, at + 1
            while rest[at] != "}":
                at += rest[at] == ","
                if rest.startswith(QUOTE, at):
                    key, at = value(at)
                else:
                    end = rest.index(":", at)
                    key, at = rest[at:end], end
                assert rest[at] == ":"
                out[key], at = value(at + 1)
            return out, at + 1
        word = re.compile(r"[^,\]}]+").match(rest, at)
        return json.loads(word[0]), word.end()
    arguments, end = value(0)
    assert end == len(rest), rest[end:]
    return name, arguments


def test_tool_calls_always_parse(tool):
    schemas = {one["function"]["name"]: one["function"].get("parameters", {"type": "object", "additionalProperties": False})
               for one in TOOLS}
    tool.compile(tools=TOOLS)
    calls = 0
    for text in tool.sample(60, 3, end=0.7):
        assert text.startswith("<|tool_call>") and text.endswith("<tool_call|>")
        for call in text[len("<|tool_call>"):-len("<tool_call|>")].split("<tool_call|><|tool_call>"):
            name, arguments = parse_call(call)
            jsonschema.validate(arguments, schemas[name])
            assert list(arguments) == sorted(arguments)
            calls += 1
    assert calls >= 60

    def call(text):
        return "<|tool_call>call:" + text.replace("'", QUOTE) + "<tool_call|>"
    good = ["get_weather{city:'Zürich',unit:'c'}", "get_weather{city:'a \"b\" {x}',days:9}", "ping{}",
            "ns/do.thing{rows:[{k:1.5},{k:-2}]}", "ns/do.thing{'a:b':true,rows:[]}"]
    bad = ["get_weather{}", "get_weather{city:''}", "get_weather{city:'a',days:10}", "get_weather{unit:'c',city:'a'}", "pong{}",
           "ping{a:1}", "ns/do.thing{rows:[{}]}", "get_weather{city:'a',x:1}", "get_weather{city:\"a\"}"]
    assert tool.accepted(*map(call, good + bad)) == [True] * len(good) + [False] * len(bad)
    assert tool.accepted(call(good[0]) + call(good[2])) == [True]
    tool.compile(tools=TOOLS, names=["ping"], parallel=False)
    assert tool.accepted(call("ping{}"), call("ping{}") * 2, call(good[0])) == [True, False, False]


def test_tools_that_cannot_be_honoured(tool):
    strict = {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {"s": {"not": {}}}}}
    assert "tool f: schema #/properties/s/not: " in tool.refused(tools=[strict])
    tool.compile(tools=[{**strict, "strict": False}])
    assert "declared twice" in tool.refused(tools=[TOOLS[2], TOOLS[2]])
    assert "no tool pong" in tool.refused(tools=TOOLS, names=["pong"])
    assert "names of 1 to" in tool.refused(tools=[{"name": "a{b"}])
