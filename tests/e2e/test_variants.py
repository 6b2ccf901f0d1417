"""E2B, E4B, 26B-A4B and 31B: prompts in their own style, pictures and clips, answers of the reference."""
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


def picture_arguments(tree, case):
    """The options that attach a case's pictures or clip and say its text, or None where text stands between them."""
    content = case["messages"][0]["content"]
    kinds = [part["type"] for part in content]
    if kinds.count("text") != 1 or kinds[-1] != "text" or ("video" in kinds and "image" in kinds):
        return None
    media = tree / "tests/golden/media"
    arguments = [argument for name in case["images"] for argument in ("--image", media / "pictures" / name)]
    arguments += [argument for budget in case["image_tokens"] or [] for argument in ("--image-tokens", budget)]
    if case["clip"]:
        arguments += ["--video", media / "clip" / case["clip"], "--video-frames", case["clip_frames"]]
    return [*arguments, content[-1]["text"]]


@pytest.mark.parametrize("model", [f"{name}-vision" for name in VARIANTS])
def test_pictures_and_clips_from_files(lapidary, tree, model):
    checked = set()
    for path in sorted((tree / "tests/golden/cases" / model).glob("*.json")):
        case = json.loads(path.read_text())
        arguments = picture_arguments(tree, case)
        if arguments is None:
            continue
        answer = lapidary.json("run", "--model", tree / "tests/golden/models" / model, "--precision", "full", "--kv", "f32", "--temperature", 0,
                               "--max-tokens", 16, "--ignore-eos", "--logprobs", 1, *arguments)
        assert answer["variant"] == VARIANTS[model.removesuffix("-vision")]
        assert answer["prompt_tokens"] == case["prompt_tokens"], path.name
        types = case["token_types"]
        assert (answer["usage"]["image_tokens"], answer["usage"]["video_tokens"]) == (types.count(1), types.count(2))
        steps = case["greedy"]["comparable_steps"]
        assert answer["tokens"][:steps] == case["greedy"]["tokens"][:steps], path.name
        for ours, logprob in zip(answer["logprobs"][:steps], case["greedy"]["logprobs"]):
            assert ours["logprob"] == pytest.approx(logprob, abs=4e-3), path.name
        checked.add(path.stem)
    assert {"image-70", "image-strip", "images-before", "video"} <= checked  # one and two pictures, two budgets, a clip


def test_score_with_a_picture(lapidary, tree):
    case = json.loads((tree / "tests/golden/cases/e2b-vision/image-70.json").read_text())
    score = lapidary.json("score", "--model", tree / "tests/golden/models/e2b-vision", "--precision", "full", "--kv", "f32",
                          *picture_arguments(tree, case))
    assert score["prompt_tokens"] == case["prompt_tokens"]
    for ours, expected in zip(score["logprobs"][1:], case["prompt_logprobs"][1:]):
        assert ours["logprob"] == pytest.approx(expected, abs=4e-3)


@pytest.mark.parametrize("budget", [70, 140, 280, 560, 1120])
def test_every_budget_enters_whole(lapidary, tree, budget):
    """Also where a step would hold fewer tokens than the picture has."""
    picture = tree / "tests/golden/media/pictures/rings-301x199.png"
    base = ("run", "--model", tree / "tests/golden/models/e4b-vision", "--image", picture, "--image-tokens", budget, "--temperature", 0,
            "--max-tokens", 8, "--ignore-eos", "What is this?")
    whole = lapidary.json(*base)
    assert budget * 0.8 < whole["usage"]["image_tokens"] <= budget
    assert lapidary.json(*base, "--batch-tokens", 16)["tokens"] == whole["tokens"]


def test_inspect_shows_the_tower(lapidary, tree):
    shown = lapidary.json("inspect", tree / "tests/golden/models/a26b-vision")
    assert shown["inputs"] == ["text", "image", "video"]
    tower = shown["vision_tower"]
    assert (tower["layers"], tower["dim"], tower["heads"], tower["head_dim"]) == (2, 36, 3, 12)
    assert tower["standardised"] and not tower["clipped"]
    text = lapidary("inspect", tree / "tests/golden/models/e2b-vision").stdout
    assert "3 layers, width 32, 2 heads of 16, 16x16 pixel patches, 9 of them a token, clipped" in text
