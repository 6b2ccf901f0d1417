"""chat through a pipe: tools, grammars, several lines, taking back, saving and loading."""
import json
import re

import pytest

GREEDY = ("--temperature", 0, "--max-tokens", 60)


@pytest.fixture
def chat(lapidary):
    def talk(*lines, options=()):
        sampling = () if "--temperature" in options else GREEDY
        done = lapidary("chat", *sampling, *options, stdin="\n".join(lines) + "\n")
        assert done.returncode == 0, done.stderr
        return done
    return talk


@pytest.fixture
def saved(chat, tmp_path):
    """What the conversation is after these lines."""
    def talk(*lines, options=()):
        path = tmp_path / "saved.json"
        chat(*lines, f"/save {path}", options=options)
        return json.loads(path.read_text())
    return talk


def roles(talk):
    return [message["role"] for message in talk["messages"]]


def test_a_call_asks_for_its_result_and_goes_on(saved, chat, tree):
    tools = ("--tools", tree / "examples/tools.json")
    lines = ("What is the weather in Paris?", "18 degrees and sunny")
    done = chat(*lines, options=tools)
    assert re.search(r"get_weather\n +city: Paris\n", done.stderr), done.stderr
    assert "its result" in done.stderr and done.stdout.strip()
    talk = saved(*lines, options=tools)
    assert roles(talk) == ["user", "assistant", "tool", "assistant"]
    call = talk["messages"][1]["tool_calls"][0]
    assert call["name"] == "get_weather" and call["arguments"] == {"city": "Paris"}
    assert talk["messages"][2] == {"role": "tool", "tool_call_id": call["id"], "name": "get_weather", "content": lines[1]}
    assert talk["messages"][3]["content"] == done.stdout.strip()
    assert talk["tools"][0]["function"]["name"] == "get_weather"


def test_results_from_files_and_none(saved, tree, tmp_path):
    result = tmp_path / "result.txt"
    result.write_text('{"temp": 3,\n "sky": "grey"}')
    ask = "What is the weather in Paris?"
    talk = saved(f"/tools {tree / 'examples/tools.json'}", ask, f"@{tmp_path}/nowhere", f"@{result}")
    assert talk["messages"][2]["content"] == result.read_text()
    talk = saved(ask, "", options=("--tools", tree / "examples/tools.json"))
    assert roles(talk)[:3] == ["user", "assistant", "tool"] and talk["messages"][2]["content"] is None


def test_without_a_result_the_message_is_taken_back(chat, tree):
    done = chat("What is the weather in Paris?", options=("--tools", tree / "examples/tools.json"))
    assert "taken back" in done.stderr


def test_without_tools_there_are_no_calls(saved, tree):
    talk = saved(f"/tools {tree / 'examples/tools.json'}", "/tools off", "What is the weather in Paris?")
    assert roles(talk) == ["user", "assistant"] and "tool_calls" not in talk["messages"][1] and "tools" not in talk


def test_answers_follow_a_schema(saved, chat, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "required": ["age"], "additionalProperties": false, "properties": {"age": {"type": "integer", "maximum": 99, "minimum": 1}}}')
    talk = saved("Who are you?", "/schema off", "Who are you?", f"/schema {schema}", "Who are you?", "/regex yes|no", "Is it?",
                 options=("--json-schema", schema))
    said = [message["content"] for message in talk["messages"] if message["role"] == "assistant"]
    assert set(json.loads(said[0])) == {"age"} and set(json.loads(said[2])) == {"age"}
    assert not said[1].startswith("{") and said[3] in ("yes", "no")
    assert chat("hello", options=("--regex", "a{3}")).stdout == "aaa\n"
    wrong = chat(f"/schema {tmp_path}/none.json", "/regex (a", "/schema", "/tools nowhere.json")
    assert "none.json" in wrong.stderr and "/regex" in wrong.stderr and "which file" in wrong.stderr and "nowhere.json" in wrong.stderr


def test_options_that_are_wrong_end_it(lapidary, tmp_path):
    assert "nowhere.json" in lapidary.error("chat", "--tools", "nowhere.json", stdin="")
    assert "none.json" in lapidary.error("chat", "--json-schema", "none.json", stdin="")
    assert "no-talk.json" in lapidary.error("chat", "--load", "no-talk.json", stdin="")
    bad = tmp_path / "bad.json"
    bad.write_text('{"messages": [{"role": "nobody"}]}')
    assert "/messages/0/role" in lapidary.error("chat", "--load", bad, stdin="")


def test_regenerate_and_undo(saved, chat):
    hot = ("--temperature", 1.5, "--top-k", 0, "--top-p", 1, "--seed", 3, "--max-tokens", 40)
    first = saved("Tell me something.", options=hot)
    again = saved("Tell me something.", "/regenerate", options=hot)
    third = saved("Tell me something.", "/regenerate", "/regenerate", options=hot)
    assert roles(again) == ["user", "assistant"] == roles(third)
    answers = {talk["messages"][1]["content"] for talk in (first, again, third)}
    assert len(answers) > 1
    assert saved("Tell me something.", "/regenerate", options=hot) == again
    assert saved("Hello!", "Tell me something.", "/undo")["messages"] == saved("Hello!")["messages"]
    done = chat("/undo", "/regenerate", "Hello!", "/regenerate")
    assert "nothing to take back" in done.stderr and "no message" in done.stderr and "same answer" in done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1]


def test_several_lines(saved):
    talk = saved("one\\", "two", '"""', "first", "", "/undo", 'last"""')
    said = [message["content"] for message in talk["messages"] if message["role"] == "user"]
    assert said == ["one\ntwo", "first\n\n/undo\nlast"]


def test_later_turns_begin_with_what_is_known(chat):
    long = "Tell me a story about " + ", ".join(f"a {colour} {shape}" for colour in ("red", "green", "blue") for shape in ("circle", "square", "triangle"))
    done = chat(f"{long}, and then {long}", "And then?", "/context", "Go on.")
    known = [int(count) for count in re.findall(r"(\d+) known from before", done.stderr)]
    assert len(known) == 2 and 0 < known[0] <= known[1], done.stderr
    used, room = map(int, re.search(r"(\d+) of (\d+) tokens are used", done.stderr).groups())
    assert 0 < used < room


def test_a_saved_conversation_goes_on(saved, chat, tree, tmp_path):
    tools = ("--tools", tree / "examples/tools.json")
    picture = tree / "tests/golden/media/pictures/rgb.png"
    lines = (f"/image {picture}", "What is this?", "What is the weather in Paris?", "18 degrees", "/think")
    path = tmp_path / "talk.json"
    chat(*lines, f"/save {path}", options=tools)
    talk = json.loads(path.read_text())
    assert talk["thinking"] and talk["messages"][0]["media_kinds"] == ["image"]
    again = saved(options=("--load", path))
    assert again == talk
    # The answer that comes next does not depend on whether the conversation was loaded.
    unbroken = chat(*lines, "And tomorrow?", "20 degrees", options=tools).stdout.splitlines()[-1]
    loaded = chat("/clear", f"/load {path}", "And tomorrow?", "20 degrees").stdout.splitlines()[-1]
    assert loaded == unbroken


def test_media_of_a_loaded_conversation(saved, chat, tree, tmp_path):
    path = tmp_path / "talk.json"
    picture = tree / "tests/golden/media/pictures/rgb.png"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "?", "media": [str(picture)]},
                                             {"role": "assistant", "content": "A picture."}]}))
    talk = saved(options=("--load", path))
    assert talk["messages"][0]["media_kinds"] == ["image"]
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "?", "media": [str(tmp_path / "gone.png")]}]}))
    done = chat("Hello!", f"/load {path}", f"/save {tmp_path / 'kept.json'}")
    assert "gone.png" in done.stderr
    assert len(json.loads((tmp_path / "kept.json").read_text())["messages"]) == 2


def test_help_lists_every_command(chat, lapidary):
    text = chat("/help").stderr
    for command in ("/image", "/think", "/tools", "/schema", "/regex", "/regenerate", "/undo", "/context", "/save", "/load", "/clear", "/quit"):
        assert command in text and command in lapidary("chat", "--help").stdout
    script = lapidary("completion").stdout
    words = re.search(r'chat\) words="([^"]*)"', script).group(1).split()
    assert {"--tools", "--load", "--json-schema", "--regex", "--draft"} <= set(words)
