"""E2B, E4B, 26B-A4B and 31B, text only so far: prompts in their own style, answers of the reference."""
import json

import pytest

VARIANTS = {"e2b": "e2b", "e4b": "e4b", "a26b": "26b-a4b", "d31b": "31b"}


@pytest.mark.parametrize("model", VARIANTS)
def test_chat_prompts_and_greedy_answers(lapidary, tree, model):
    folder = tree / "tests/golden/models" / model
    checked = 0
    for path in sorted((tree / "tests/golden/cases" / model).glob("*.json")):
        case = json.loads(path.read_text())
        messages = case["messages"]
        if not messages or [m["role"] for m in messages] not in (["user"], ["system", "user"]) or case.get("tools"):
            continue
        think = ("--think",) if case.get("enable_thinking") else ()
        system = ("--system", messages[0]["content"]) if messages[0]["role"] == "system" else ()
        answer = lapidary.json("run", "--model", folder, "--precision", "full", "--kv", "f32", "--temperature", 0, "--max-tokens", 16,
                               "--ignore-eos", *think, *system, messages[-1]["content"])
        assert answer["variant"] == VARIANTS[model]
        assert answer["prompt_tokens"] == case["prompt_tokens"], path.name
        steps = case["greedy"]["comparable_steps"]
        assert answer["tokens"][:steps] == case["greedy"]["tokens"][:steps], path.name
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize("model", VARIANTS)
def test_media_are_refused_clearly(lapidary, tree, model):
    picture = tree / "tests/golden/media/pictures/rgb.png"
    message = lapidary.error("run", "--model", tree / "tests/golden/models" / model, "--image", picture, "What is this?")
    assert "image" in message
