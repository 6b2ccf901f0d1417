"""Broken and hostile input: one clear line, status 1; wrong usage: status 2. Never a crash, nothing on stdout."""
import os
import shutil
import struct

import pytest


@pytest.fixture
def model(tree, tmp_path):
    """A copy of a tiny model that a test may spoil."""
    folder = tmp_path / "model"
    shutil.copytree(tree / "tests/golden/models/unified-a", folder)
    return folder


def test_model_that_is_not_there(lapidary, tmp_path):
    assert "no such file or directory" in lapidary.error("run", "--model", tmp_path / "nowhere", "hello")
    assert "config.json" in lapidary.error("run", "--model", tmp_path, "hello")
    (tmp_path / "file").write_text("x")
    assert "found a file" in lapidary.error("run", "--model", tmp_path / "file", "hello")


def test_truncated_weights(lapidary, model):
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    for size in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
        weights.write_bytes(data[:size])
        assert "model.safetensors" in lapidary.error("run", "--model", model, "hello")


def test_huge_header_claim(lapidary, model):
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    assert "header claims" in lapidary.error("inspect", model)


def test_wrong_shapes(lapidary, model):
    config = model / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 64', '"hidden_size": 62'))
    message = lapidary.error("run", "--model", model, "hello")
    assert "expected" in message and "embed_tokens.weight is [641, 64], expected [641, 62]" in message


def test_broken_json(lapidary, model):
    for name in ("config.json", "generation_config.json", "tokenizer.json", "processor_config.json"):
        path = model / name
        saved = path.read_text()
        path.write_text(saved[: len(saved) // 2])
        assert name in lapidary.error("run", "--model", model, "--image", "x.png", "hello")
        path.write_text(saved)
    (model / "tokenizer.json").unlink()
    assert "tokenizer.json" in lapidary.error("run", "--model", model, "hello")


def test_broken_pictures(lapidary, tree, tmp_path):
    tiny = tree / "tests/golden/models/unified-a"
    broken = tmp_path / "broken.jpg"
    for data in (b"", b"\xff\xd8", b"hello there", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBP"):
        broken.write_bytes(data)
        assert "broken.jpg" in lapidary.error("run", "--model", tiny, "--image", broken, "hello")
    assert "cannot be opened" in lapidary.error("run", "--model", tiny, "--image", tmp_path / "none.png", "hello")
    assert "found a directory" in lapidary.error("run", "--model", tiny, "--image", tmp_path, "hello")
    # A PNG header that claims 60,000 x 60,000 pixels is refused before anything is decoded.
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", 60000, 60000) + b"\x08\x02\x00\x00\x00\x00\x00\x00\x00"
    broken.write_bytes(header)
    assert "broken.jpg" in lapidary.error("run", "--model", tiny, "--image", broken, "hello")


def test_text_where_sound_or_video_was_promised(lapidary, tree):
    tiny = tree / "tests/golden/models/unified-a"
    for option in ("--audio", "--video"):
        assert "README.md" in lapidary.error("run", "--model", tiny, option, tree / "README.md", "hello")


def test_token_ids(lapidary, tree):
    tiny = tree / "tests/golden/models/unified-a"
    assert "found 641" in lapidary.error("run", "--model", tiny, "--prompt-tokens", "2,641")
    assert "entry 2" in lapidary.error("run", "--model", tiny, "--prompt-tokens", "2,x")
    assert "entry 1" in lapidary.error("run", "--model", tiny, "--prompt-tokens", "-4")
    assert "media" in lapidary.error("run", "--model", tiny, "--prompt-tokens", "2", "--image", "x.png")
    assert "entry 1 is 99999" in lapidary.error("detokenize", "--model", tiny, "99999")


def test_prompt_longer_than_the_context(lapidary, tree):
    tiny = tree / "tests/golden/models/unified-a"
    assert "the context holds 16" in lapidary.error("run", "--model", tiny, "--context", 16, "--raw", "word " * 50)
    assert "the model's limit" in lapidary.error("run", "--model", tiny, "--context", 99999999, "hello")


def test_options_that_do_not_go_together(lapidary, tree):
    tiny = tree / "tests/golden/models/unified-a"
    assert "--raw" in lapidary.error("run", "--model", tiny, "--raw", "--think", "hello")
    assert "no prompt" in lapidary.error("run", "--model", tiny, stdin="")
    assert "CUDA" in lapidary.error("run", "--model", tiny, "--device", "cuda", "hello")
    assert "LAPIDARY_ISA" in lapidary.error("run", "--model", tiny, "hello", env={"LAPIDARY_ISA": "sse9"})


def test_broken_tools(lapidary, tree, tmp_path):
    tiny = tree / "tests/golden/models/unified-a"
    tools = tmp_path / "tools.json"
    for text, part in (("{", "not valid JSON"), ("[1]", "/0"), ('[{"type": "function"}]', "/0")):
        tools.write_text(text)
        assert part in lapidary.error("run", "--model", tiny, "--tools", tools, "hello")


def test_wrong_usage(lapidary):
    for arguments in ((), ("fly",), ("run", "--nope"), ("run", "--temperature", "hot", "x"), ("run", "--image-tokens", "71", "x"),
                      ("score", "--logprobs", "1000"), ("run", "--threads", "0", "x")):
        done = lapidary(*arguments)
        assert done.returncode == 2, arguments
        assert done.stdout == "" and done.stderr


def test_output_that_nobody_reads(lapidary, tree):
    """`lapidary run ... | head -c 1` ends quietly."""
    import subprocess
    from conftest import PROGRAM
    command = f"'{PROGRAM}' run --model '{tree}/tests/golden/models/unified-a' --ignore-eos --max-tokens 3000 hello | head -c 1"
    done = subprocess.run(["bash", "-c", command + "; exit ${PIPESTATUS[0]}"], capture_output=True, timeout=120, env=os.environ)
    assert done.returncode in (0, 1) and b"bug" not in done.stderr
