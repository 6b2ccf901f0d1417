"""Speculation as a user sees it: the same answers, a report, and refusals."""
import json
import shutil

import pytest


@pytest.fixture
def models(tree):
    return tree / "tests/golden/models"


def golden_drafts(tree, model, name):
    prompt = json.loads((tree / f"tests/golden/cases/{model}/{name}.json").read_text())
    return prompt, json.loads((tree / f"tests/golden/drafts/{model}/{name}.json").read_text())


@pytest.mark.parametrize("sampling", [("--temperature", 0), ("--seed", 4), ("--temperature", 30, "--top-k", 0, "--top-p", 1, "--seed", 5)])
@pytest.mark.parametrize("count", [(), ("--draft-tokens", 1), ("--draft-tokens", 8)])
def test_the_answer_is_the_same_without(lapidary, models, sampling, count):
    arguments = ("run", "--model", models / "unified-a", "--ignore-eos", "--max-tokens", 40, "--logprobs", 3, *sampling, "hello")
    drafted, plain = lapidary.json(*arguments, *count), lapidary.json(*arguments, "--draft", "none")
    for key in ("prompt_tokens", "tokens", "text", "finish_reason", "logprobs", "usage"):
        assert drafted[key] == plain[key], key
    assert "speculation" not in plain and "draft_ms" not in plain["timing"]
    assert 0 < drafted["timing"]["draft_ms"] <= drafted["timing"]["decode_ms"]
    report = drafted["speculation"]
    assert set(report) == {"rounds", "proposed", "accepted", "drafts"}
    assert report["rounds"] == len(report["drafts"]) and report["proposed"] == sum(map(len, report["drafts"]))
    assert len(drafted["tokens"]) == 1 + report["rounds"] + report["accepted"]
    if sampling[1] == 30 and count:
        assert report["accepted"] > 0


@pytest.mark.parametrize("model", ["unified-a", "unified-b", "e2b-mtp", "e4b-mtp", "a26b", "d31b"])
@pytest.mark.parametrize("name", ["text-one-token", "text-short", "text-long", "chat"])
def test_the_first_round_drafts_what_the_reference_drafts(lapidary, tree, models, model, name):
    prompt, golden = golden_drafts(tree, model, name)
    ids = ",".join(map(str, prompt["prompt_tokens"]))
    answer = lapidary.json("run", "--model", models / model, "--prompt-tokens", ids, "--temperature", 0, "--ignore-eos",
                           "--max-tokens", 20, "--precision", "full", "--kv", "f32", "--draft-tokens", 8)
    assert answer["tokens"][0] == golden["newest"]
    assert answer["speculation"]["drafts"][0] == golden["drafts"]


@pytest.mark.parametrize("model", ["e2b-mtp", "e4b-mtp", "a26b", "d31b"])
@pytest.mark.parametrize("sampling", [("--temperature", 0), ("--temperature", 30, "--top-k", 0, "--top-p", 1, "--seed", 5)])
def test_every_variant_drafts(lapidary, models, model, sampling):
    arguments = ("run", "--model", models / model, "--ignore-eos", "--max-tokens", 60, "--logprobs", 2, *sampling, "hello")
    plain = lapidary.json(*arguments, "--draft", "none")
    for count in (1, 3, 8):
        drafted = lapidary.json(*arguments, "--draft-tokens", count)
        for key in ("tokens", "text", "finish_reason", "logprobs", "usage"):
            assert drafted[key] == plain[key], (key, count)
        report = drafted["speculation"]
        assert max(map(len, report["drafts"])) == count and len(drafted["tokens"]) == 1 + report["rounds"] + report["accepted"]


def test_a_model_without_a_drafter_runs_without(lapidary, models):
    assert "speculation" not in lapidary.json("run", "--model", models / "unified-c", "--max-tokens", 3, "hello")


def test_a_drafter_from_elsewhere(lapidary, models, tmp_path):
    shutil.copytree(models / "unified-a/drafter", tmp_path / "mine")
    arguments = ("run", "--model", models / "unified-a", "--temperature", 0, "--max-tokens", 10, "--ignore-eos", "--draft-tokens", 3, "hello")
    beside, elsewhere = lapidary.json(*arguments), lapidary.json(*arguments, "--draft", tmp_path / "mine")
    assert elsewhere["speculation"] == beside["speculation"]


def test_a_drafter_of_another_model_is_refused(lapidary, models):
    line = lapidary.error("run", "--model", models / "unified-b", "--draft", models / "unified-a/drafter", "hello")
    assert "does not belong to the model" in line and "backbone_hidden_size is 64, expected 80" in line


def test_what_is_not_a_drafter_is_refused(lapidary, models, tmp_path):
    line = lapidary.error("run", "--model", models / "unified-a", "--draft", models / "unified-a", "hello")
    assert "for a drafter, found gemma4_unified" in line
    assert "no such file or directory" in lapidary.error("run", "--model", models / "unified-a", "--draft", tmp_path / "nothing", "hello")


def test_a_drafter_with_another_tensor_is_refused(lapidary, models, tmp_path):
    shutil.copytree(models / "unified-a/drafter", tmp_path / "bad")
    config = json.loads((tmp_path / "bad/config.json").read_text())
    config["text_config"]["hidden_size"] += 8
    (tmp_path / "bad/config.json").write_text(json.dumps(config))
    line = lapidary.error("run", "--model", models / "unified-a", "--draft", tmp_path / "bad", "hello")
    assert "pre_projection.weight is [40, 128], expected [48, 128]" in line
