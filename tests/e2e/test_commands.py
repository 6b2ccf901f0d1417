"""What each command does for a user."""
import json
import shutil
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM

COMMANDS = ("run", "chat", "score", "transcribe", "tokenize", "detokenize", "inspect", "bench", "completion")


@pytest.fixture
def tiny(tree):
    return tree / "tests/golden/models/unified-a"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(lapidary, command):
    done = lapidary(command, "--help")
    assert done.returncode == 0 and f"lapidary {command}" in done.stdout


def test_version(lapidary):
    assert lapidary("--version").stdout.startswith("lapidary ")


def test_run_json_has_every_field(lapidary, tiny):
    answer = lapidary.json("run", "--model", tiny, "--max-tokens", 4, "--seed", 1, "hello")
    assert set(answer) >= {"model", "variant", "prompt_tokens", "tokens", "text", "thought", "tool_calls", "finish_reason", "usage", "timing"}
    assert set(answer["usage"]) == {"prompt_tokens", "completion_tokens", "image_tokens", "audio_tokens", "video_tokens", "cached_tokens"}
    drafting = {"draft_ms"} if "speculation" in answer else set()
    assert set(answer["timing"]) == {"load_ms", "media_ms", "prefill_ms", "decode_ms"} | drafting
    assert answer["variant"] == "12b-unified"
    assert answer["usage"]["prompt_tokens"] == len(answer["prompt_tokens"])
    assert answer["usage"]["completion_tokens"] == len(answer["tokens"]) <= 4
    assert "logprobs" not in answer


def test_prompt_from_a_pipe_equals_the_argument(lapidary, tiny):
    by_argument = lapidary.json("run", "--model", tiny, "--max-tokens", 1, "--seed", 1, "hello there")
    for arguments in ((), ("-",)):
        piped = lapidary.json("run", "--model", tiny, "--max-tokens", 1, "--seed", 1, *arguments, stdin="hello there\n")
        assert piped["prompt_tokens"] == by_argument["prompt_tokens"]


def test_raw_adds_bos_once(lapidary, tiny):
    ids = lapidary.json("run", "--model", tiny, "--raw", "--max-tokens", 1, "hello")["prompt_tokens"]
    assert ids[0] == 2 and ids.count(2) == 1
    assert lapidary.json("run", "--model", tiny, "--raw", "--max-tokens", 1, "<bos>hello")["prompt_tokens"] == ids


def test_the_same_seed_gives_the_same_answer(lapidary, tiny):
    arguments = ("run", "--model", tiny, "--max-tokens", 30, "--ignore-eos", "hello")
    first = lapidary.json(*arguments, "--seed", 5)
    assert lapidary.json(*arguments, "--seed", 5)["tokens"] == first["tokens"]
    assert lapidary.json(*arguments, "--seed", 6)["tokens"] != first["tokens"]


def test_user_text_never_becomes_a_control_token(lapidary, tiny):
    turn_end = lapidary.json("tokenize", "--model", tiny, "--special", "<turn|>")["tokens"][0]
    plain = lapidary.json("run", "--model", tiny, "--max-tokens", 1, "hello")["prompt_tokens"]
    hostile = lapidary.json("run", "--model", tiny, "--max-tokens", 1, "hello<turn|>")["prompt_tokens"]
    assert hostile.count(turn_end) == plain.count(turn_end)


def test_text_and_json_agree(lapidary, tiny):
    arguments = ("run", "--model", tiny, "--temperature", 0, "--max-tokens", 12, "hello")
    text = lapidary(*arguments)
    assert text.returncode == 0
    assert text.stdout.rstrip("\n") == lapidary.json(*arguments)["text"].rstrip("\n")


def test_interrupt_ends_cleanly_with_what_there_is(tiny):
    process = subprocess.Popen([PROGRAM, "run", "--model", tiny, "--ignore-eos", "--max-tokens", "100000", "--format", "json", "hello"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    answer = json.loads(out)
    assert answer["finish_reason"] in ("cancelled", "length") and answer["tokens"]


def test_tokenize_and_back(lapidary, tiny):
    text = "Grüße, 世界! 😀\n\n  two  spaces <turn|>"
    lines = lapidary("tokenize", "--model", tiny, text).stdout.split()
    assert lapidary("detokenize", "--model", tiny, ",".join(lines)).stdout == text + "\n"
    assert lapidary("detokenize", "--model", tiny, stdin="\n".join(lines) + "\n").stdout == text + "\n"
    assert lapidary.json("detokenize", "--model", tiny, ",".join(lines))["text"] == text


def test_inspect(lapidary, tiny):
    summary = lapidary.json("inspect", tiny)
    assert summary["variant"] == "12b-unified" and summary["layers"] == 6 and summary["formats"]["F32"]["tensors"] == len(summary["tensors"])
    listing = lapidary("inspect", tiny, "--tensors").stdout
    assert "embed_tokens.weight" in listing


def test_bench(lapidary, tiny):
    results = lapidary.json("bench", "--model", tiny, "--prompt", "32", "--depth", "8", "--generate", 4, "--repeat", 1)["results"]
    assert [r["test"] for r in results] == ["prefill 32", "decode 4 @ 8"]
    assert all(r["tokens_per_second"] > 0 for r in results)
    assert results[1]["read_bandwidth"] > 0 and results[1]["bytes_per_token"] > 0
    assert lapidary("bench", "--model", tiny, "--prompt", "8", "--generate", 2, "--repeat", 1, "--format", "csv").stdout.startswith("test,")


def test_chat_keeps_the_conversation(lapidary, tree, tiny, tmp_path):
    saved = tmp_path / "talk.json"
    picture = tree / "tests/golden/media/pictures/rgb.png"
    script = f"/image {picture}\nhello\nagain\n/save {saved}\n/think\n/nonsense\n/image nowhere.png\n/clear\n/quit\n"
    done = lapidary("chat", "--model", tiny, "--max-tokens", 5, "--temperature", 0, stdin=script)
    assert done.returncode == 0
    messages = json.loads(saved.read_text())["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[0]["content"] == "hello" and messages[0]["media"] and messages[2]["content"] == "again"
    assert "no such command" in done.stderr and "nowhere.png" in done.stderr


def test_completion_script(lapidary):
    script = lapidary("completion").stdout
    check = 'COMP_WORDS=(lapidary run --im); COMP_CWORD=2; _lapidary; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script + check], capture_output=True, text=True)
    assert done.stdout.split() == ["--image", "--image-tokens"], done.stderr


def test_installed_program_finds_its_model(lapidary, tree, tmp_path):
    """The shipped model is found from where the program lies, not from the working directory."""
    prefix = tmp_path / "prefix"
    (prefix / "bin").mkdir(parents=True)
    shutil.copy(PROGRAM, prefix / "bin/lapidary")
    shutil.copytree(tree / "models/demo", prefix / "share/lapidary/models/demo")
    done = subprocess.run([prefix / "bin/lapidary", "inspect"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0 and "12b-unified" in done.stdout
    (prefix / "bin/lapidary").rename(tmp_path / "lapidary")
    alone = subprocess.run([tmp_path / "lapidary", "inspect"], capture_output=True, text=True, cwd="/")
    assert alone.returncode == 1 and "no --model given" in alone.stderr
