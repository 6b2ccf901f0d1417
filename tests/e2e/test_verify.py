"""run --verify reference: an answer computed once more in double precision."""
import json

import pytest


@pytest.fixture
def models(tree):
    return tree / "tests/golden/models"


@pytest.mark.parametrize("model", ["unified-a", "e2b-mtp", "a26b"])
@pytest.mark.parametrize("sampling", [("--temperature", 0), ("--seed", 7)])
def test_exact_settings_agree(lapidary, models, model, sampling):
    answer = lapidary.json("run", "--model", models / model, "--precision", "full", "--kv", "f32", "--ignore-eos", "--max-tokens", 12,
                           *sampling, "--verify", "reference", "hello there")
    report = answer["verify"]
    assert set(report) == {"device", "tokens", "answer_tokens", "logit_difference_max", "first_difference", "reference_ms"}
    assert report["device"] == "reference" and report["first_difference"] is None
    assert report["tokens"] == report["answer_tokens"] == len(answer["tokens"]) == 12
    assert 0 < report["logit_difference_max"] < 2e-3


def test_the_reference_agrees_with_itself_exactly(lapidary, models):
    report = lapidary.json("run", "--model", models / "unified-a", "--device", "reference", "--kv", "f32", "--max-tokens", 6, "--seed", 3,
                           "--verify", "reference", "hello")["verify"]
    assert report["logit_difference_max"] == 0 and report["first_difference"] is None


def test_text_says_it_in_one_line_and_the_answer_is_untouched(lapidary, models):
    arguments = ("run", "--model", models / "unified-a", "--precision", "full", "--kv", "f32", "--temperature", 0, "--max-tokens", 5,
                 "--ignore-eos", "hello")
    plain, verified = lapidary(*arguments), lapidary(*arguments, "--verify", "reference")
    assert verified.returncode == 0 and verified.stdout == plain.stdout
    assert verified.stderr.startswith("verify: 5 of 5 tokens compared, all as on the reference; largest difference of a logit ")
    assert plain.stderr == ""


def test_a_prompt_with_a_picture(lapidary, models, tree):
    report = lapidary.json("run", "--model", models / "unified-b", "--precision", "full", "--kv", "f32", "--temperature", 0, "--max-tokens", 3,
                           "--image", tree / "tests/golden/media/pictures/rgb.png", "--image-tokens", 70, "--verify", "reference",
                           "What is this?")["verify"]
    assert report["tokens"] == 3 and report["logit_difference_max"] < 2e-3


def test_a_wrong_token_is_found_and_fails(lapidary, models):
    """bf16 K and V against a random model whose logits nearly tie: drawn hot, some seed goes another way. Each answer that
    differs must be reported at the token where it does, and with status 1."""
    wrong = 0
    for seed in range(12):
        arguments = ("run", "--model", models / "unified-b", "--ignore-eos", "--max-tokens", 40, "--temperature", 3, "--top-k", 0,
                     "--top-p", 1, "--seed", seed, "hello", "--format", "json")
        done = lapidary(*arguments, "--verify", "reference")
        answer = json.loads(done.stdout)
        report = answer["verify"]
        if report["first_difference"] is None:
            assert done.returncode == 0 and report["tokens"] == 40
            continue
        wrong += 1
        difference = report["first_difference"]
        assert done.returncode == 1 and done.stderr.startswith("lapidary: error: --verify reference: token ")
        reference = lapidary.json(*arguments[:-2], "--device", "reference", "--kv", "f32", "--draft", "none")
        index = next(i for i, (a, b) in enumerate(zip(answer["tokens"], reference["tokens"])) if a != b)
        assert difference["index"] == index and report["tokens"] == index + 1
        assert (difference["token"], difference["reference"]) == (answer["tokens"][index], reference["tokens"][index])
    assert wrong > 0


def test_only_the_reference_verifies(lapidary, models):
    done = lapidary("run", "--model", models / "unified-a", "--verify", "cpu", "hello")
    assert done.returncode == 2 and "--verify" in done.stderr
