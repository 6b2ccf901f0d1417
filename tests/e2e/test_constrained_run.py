"""run --json-schema and --regex: what the shipped model says satisfies them, whatever the sampling, with drafts and without."""
import json
import re

import jsonschema
import pytest

PERSON = {"type": "object", "required": ["name", "age"], "additionalProperties": False,
          "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
                         "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 4}}}
SCHEMAS = {
    "person": PERSON,
    "choice": {"enum": ["yes", "no", None, 12, ["a", {"b": 1}]]},
    "numbers": {"type": "array", "items": {"type": "number", "minimum": -5, "maximum": 5}, "minItems": 2, "maxItems": 4},
    "union": {"anyOf": [{"type": "object", "required": ["kind"], "additionalProperties": False,
                         "properties": {"kind": {"const": "circle"}, "radius": {"type": "integer", "maximum": 999, "minimum": 1}}},
                        {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 5}]},
    "pattern": {"type": "object", "required": ["date"], "additionalProperties": False,
                "properties": {"date": {"type": "string", "format": "date"}, "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}}},
    "people": {"type": "object", "required": ["people"], "additionalProperties": False,
               "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/person"}, "minItems": 1, "maxItems": 2}},
               "$defs": {"person": PERSON}},
}
HOT = ("--temperature", 1.5, "--top-k", 0, "--top-p", 1)
SAMPLING = {"greedy": [("--temperature", 0)], "hot": [(*HOT, "--seed", seed) for seed in (1, 2, 3)]}


@pytest.fixture
def schema_file(tmp_path):
    def write(schema):
        path = tmp_path / "schema.json"
        path.write_text(json.dumps(schema))
        return path
    return write


def check(answer, schema):
    assert answer["finish_reason"] == "stop", answer
    jsonschema.validate(json.loads(answer["text"]), schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("form", [(), ("--raw",), ("--think",)])
def test_json_satisfies_its_schema(lapidary, schema_file, name, sampling, form):
    path = schema_file(SCHEMAS[name])
    for options in SAMPLING[sampling]:
        arguments = ("run", "--json-schema", path, "--max-tokens", 400, *options, *form, "Who are you? Answer in JSON.")
        answers = [lapidary.json(*arguments, *draft) for draft in ((), ("--draft", "none"))]
        assert answers[0]["tokens"] == answers[1]["tokens"]
        if form == ("--think",) and answers[0]["finish_reason"] == "length":
            continue  # thoughts have no bound
        check(answers[0], SCHEMAS[name])


def test_as_text(lapidary, schema_file):
    done = lapidary("run", "--json-schema", schema_file(PERSON), *HOT, "--seed", 5, "hello")
    assert done.returncode == 0, done.stderr
    jsonschema.validate(json.loads(done.stdout), PERSON)


@pytest.mark.parametrize("pattern", ["yes|no", "[A-Z][a-z]{2,6}( [0-9]+){1,3}", r"\d{4}-\d{2}", "(кот|чай)+!"])
def test_text_matches_its_pattern(lapidary, pattern):
    for options in SAMPLING["greedy"] + SAMPLING["hot"]:
        for form in ((), ("--raw",), ("--prompt-tokens", "2,300,301")):
            prompt = ("Say something.",) if form[:1] != ("--prompt-tokens",) else ()
            answer = lapidary.json("run", "--regex", pattern, "--max-tokens", 200, *options, *form, *prompt)
            if answer["finish_reason"] == "stop":
                assert re.fullmatch(pattern, answer["text"]), answer["text"]
            else:
                assert "+" in pattern and answer["finish_reason"] == "length"


def test_tools_may_be_called_instead(lapidary, tree, schema_file):
    tools = json.loads((tree / "examples/tools.json").read_text())
    known = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    calls = answers = 0
    for seed in range(12):
        reply = lapidary.json("run", "--tools", tree / "examples/tools.json", "--json-schema", schema_file(PERSON), *HOT, "--seed", seed,
                              "--max-tokens", 400, "What is the weather in Paris?" if seed % 2 else "Name a person.")
        if reply["tool_calls"]:
            calls += 1
            for call in reply["tool_calls"]:
                jsonschema.validate(call["arguments"], known[call["name"]])
        else:
            answers += 1
            check(reply, PERSON)
    assert calls + answers == 12


def test_ignore_eos_ends_with_the_grammar(lapidary, schema_file):
    answer = lapidary.json("run", "--json-schema", schema_file({"const": [1, 2]}), "--ignore-eos", "--temperature", 0, "hello")
    assert answer["finish_reason"] == "stop" and json.loads(answer["text"]) == [1, 2]


def test_verified_by_the_reference(lapidary, tree, schema_file):
    answer = lapidary.json("run", "--model", tree / "tests/golden/models/unified-a", "--json-schema", schema_file(SCHEMAS["numbers"]),
                           "--temperature", 0, "--verify", "reference", "--max-tokens", 60, "hello")
    assert answer["verify"]["first_difference"] is None and answer["verify"]["tokens"] == len(answer["tokens"])


def test_errors_say_where(lapidary, tmp_path):
    path = tmp_path / "schema.json"
    assert f"{tmp_path}/none.json: cannot be opened" in lapidary.error("run", "--json-schema", tmp_path / "none.json", "hello")
    path.write_text("{")
    assert str(path) in lapidary.error("run", "--json-schema", path, "hello")
    path.write_text(json.dumps({"type": "object", "properties": {"a/b": {"not": {}}}}))
    line = lapidary.error("run", "--json-schema", path, "hello")
    assert f"{path}: schema #/properties/a~1b" in line and "not" in line
    path.write_text(json.dumps({"type": "integer", "minimum": 3, "maximum": 2}))
    assert str(path) in lapidary.error("run", "--json-schema", path, "hello")
    assert "--regex: " in lapidary.error("run", "--regex", "(a", "hello")
    both = lapidary("run", "--regex", "a", "--json-schema", path, "hello")
    assert both.returncode == 2 and "excludes" in both.stderr
