"""Prompts longer than a step: progress on a terminal, nothing elsewhere; contexts beyond the model's are refused."""
import os
import pty
import subprocess

import pytest


@pytest.fixture
def model(tree):
    return tree / "tests/golden/models/long"


PROMPT = ",".join(str(4 + i % 600) for i in range(300))


def arguments(model):
    return ["run", "--model", model, "--prompt-tokens", PROMPT, "--max-tokens", 3, "--ignore-eos", "--temperature", 0, "--batch-tokens", 64]


def on_terminal(program, command):
    """stdout by a pipe, stderr a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen([str(program), *map(str, command)], stdout=subprocess.PIPE, stderr=slave, stdin=subprocess.DEVNULL)
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        seen += part
    os.close(master)
    out = process.stdout.read()
    assert process.wait(timeout=60) == 0
    return out.decode(), seen.decode()


def test_progress_on_a_terminal_only(lapidary, model):
    from conftest import PROGRAM
    plain = lapidary(*arguments(model))
    assert plain.returncode == 0 and plain.stderr == ""
    out, line = on_terminal(PROGRAM, arguments(model))
    assert out == plain.stdout
    for done in (64, 128, 192, 256):
        assert f"{done}/300" in line
    assert "300/300" not in line and line.endswith("\r\x1b[K")


def test_a_prompt_of_one_step_shows_none(lapidary, model):
    from conftest import PROGRAM
    assert on_terminal(PROGRAM, [*arguments(model)[:-2]])[1] == ""


def test_the_limit_is_said(lapidary, model):
    line = lapidary.error("run", "--model", model, "--context", 262145, "hello")
    assert "--context: expected 1 to 262144 positions (the model's limit), found 262145" in line
    line = lapidary.error("run", "--model", model, "--context", 299, *arguments(model)[3:])
    assert "the prompt has 300 tokens, the context holds 299 (see --context; the model allows 262144)" in line
