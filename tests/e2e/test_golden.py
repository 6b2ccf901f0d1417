"""The program's JSON against the reference's values, from files and options to log-probabilities."""
import json

import pytest

MODELS = ("unified-a", "unified-b", "unified-c")
FULL = ("--precision", "full", "--kv", "f32")


def cases(tree, model):
    for path in sorted((tree / "tests/golden/cases" / model).glob("*.json")):
        yield path.stem, json.loads(path.read_text())


def media_arguments(tree, case):
    """The options that attach a case's media and say its one user message, or None when it needs more than one message."""
    messages = case["messages"]
    if messages is None or len(messages) != 1 or case.get("tools") or case["clip"]:
        return None
    content = messages[0]["content"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    pictures, sounds, arguments, texts = iter(case["images"]), iter(case["sounds"]), [], []
    for part in parts:
        if part["type"] == "text":
            texts.append(part["text"])
        elif texts:
            return None  # the command line puts media before the text
        elif part["type"] == "image":
            arguments += ["--image", tree / "tests/golden/media/pictures" / next(pictures)]
        else:
            arguments += ["--audio", tree / "tests/golden/media/sounds" / next(sounds)]
    if len(texts) != 1:
        return None
    if case["image_tokens"]:
        arguments += ["--image-tokens", case["image_tokens"]]
    if case.get("enable_thinking"):
        arguments += ["--think"]
    return [*arguments, texts[0]]


@pytest.mark.parametrize("model", MODELS)
def test_greedy_answers_from_media_files(lapidary, tree, model):
    checked = 0
    for name, case in cases(tree, model):
        arguments = media_arguments(tree, case)
        if arguments is None:
            continue
        answer = lapidary.json("run", "--model", tree / "tests/golden/models" / model, *FULL, "--temperature", 0, "--max-tokens", 16,
                               "--ignore-eos", "--logprobs", 5, *arguments)
        assert answer["prompt_tokens"] == case["prompt_tokens"], name
        steps = case["greedy"]["comparable_steps"]
        assert answer["tokens"][:steps] == case["greedy"]["tokens"][:steps], name
        for ours, logprob, top in zip(answer["logprobs"][:steps], case["greedy"]["logprobs"], case["greedy"]["top"]):
            assert ours["logprob"] == pytest.approx(logprob, abs=4e-3)
            assert len(ours["top"]) == 5
        types = case["token_types"]
        usage = answer["usage"]
        assert (usage["image_tokens"], usage["video_tokens"], usage["audio_tokens"]) == (types.count(1), types.count(2), types.count(3))
        checked += 1
    assert checked >= 4


@pytest.mark.parametrize("model", MODELS)
def test_score_from_token_ids(lapidary, tree, model):
    for name, case in cases(tree, model):
        if any(case["token_types"]):
            continue
        ids = ",".join(map(str, case["prompt_tokens"]))
        score = lapidary.json("score", "--model", tree / "tests/golden/models" / model, *FULL, "--prompt-tokens", ids, "--logprobs", 2)
        assert score["prompt_tokens"] == case["prompt_tokens"]
        assert score["logprobs"][0] is None and len(score["logprobs"]) == len(case["prompt_tokens"])
        for token, ours, expected in zip(case["prompt_tokens"][1:], score["logprobs"][1:], case["prompt_logprobs"][1:]):
            assert ours["token"] == token
            assert ours["logprob"] == pytest.approx(expected, abs=4e-3), name
            assert ours["top"][0][1] >= ours["top"][1][1]


def test_pieces_and_threads_do_not_change_an_answer(lapidary, tree):
    picture = tree / "tests/golden/media/pictures/rings-301x199.png"
    base = ("run", "--model", tree / "tests/golden/models/unified-b", "--image", picture, "--seed", 3, "--max-tokens", 20, "--ignore-eos", "What is this?")
    first = lapidary.json(*base)
    for options in (("--batch-tokens", 1), ("--batch-tokens", 7, "--threads", 1), ("--threads", 3)):
        assert lapidary.json(*base, *options)["tokens"] == first["tokens"]


def test_tokenizer_files(lapidary, tree):
    model = tree / "tests/golden/models/unified-a"
    texts = json.loads((tree / "tests/golden/tokenizer/encode.json").read_text())
    texts = texts if isinstance(texts, list) else texts["cases"]
    for entry in [e for e in texts if len(e["text"]) < 2000][:40]:
        assert lapidary.json("tokenize", "--model", model, "--special", stdin=entry["text"])["tokens"] == entry["ids"]
        assert lapidary.json("tokenize", "--model", model, stdin=entry["text"])["tokens"] == entry["ids_as_text"]
