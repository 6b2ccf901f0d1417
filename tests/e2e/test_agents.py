"""Two agents as they ship, in the versions that agents/package.json names, repair a small project through the server: Codex
over /v1/responses, Claude Code over /v1/messages. Deciding what to do is beyond the shipped model, so agent_scripts.py
decides; everything else is real. Numbers in names are cases of the API specification's checklist."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest
from agent_proxy import Proxy
from agent_scripts import CLOSING, ClaudeScript, CodexScript
from conftest import PROGRAM

HERE = pathlib.Path(__file__).parent
# Of the copy of the model: the instructions and tools of an agent alone are 20,000 of its tokens. Claude Code, which keeps
# 33,000 free for itself, compacts when it has seen what tests say (28,000 tokens), and not again before the end (24,400).
CONTEXT = 58880
TESTS = f"{sys.executable} -m unittest -v"
CALC = "def add(a, b):\n    return a - b\n"
FIXED = "def add(a, b):\n    return a + b\n"
TEST_CALC = """import unittest

from calc import add


class AddTest(unittest.TestCase):
    pass


def case(a, b):
    return lambda self: self.assertEqual(add(a, b), a + b)


for a in range({side}):
    for b in range({side}):
        setattr(AddTest, f"test_that_{a}_and_{b}_are_added_up", case(a, b))
"""


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The folder of the agents' programs. They are installed for the tests and belong to nothing that is built."""
    for program in ("node", "npm", "git"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("agents")
    shutil.copy(HERE / "agents/package.json", folder)
    done = subprocess.run(["npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder,
                          capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        pytest.skip(f"npm could not fetch the agents: {done.stderr.strip()[:300]}")
    for name in ("codex", "claude"):
        started = subprocess.run([folder / "node_modules/.bin" / name, "--version"], capture_output=True, text=True)
        if started.returncode != 0:
            pytest.skip(f"{name} does not run on this machine: {started.stderr.strip()[:300]}")
    return folder / "node_modules/.bin"


@pytest.fixture(scope="module")
def long_server(tree, tmp_path_factory):
    """`lapidary serve` with the shipped model and room for an agent's prompts."""
    folder = tmp_path_factory.mktemp("model") / "gemma-4-coder"
    shutil.copytree(tree / "models/demo", folder, ignore=shutil.ignore_patterns("drafter"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = CONTEXT
    (folder / "config.json").write_text(json.dumps(config))
    log = folder.parent / "serve.log"
    with log.open("w") as stderr:
        process = subprocess.Popen([PROGRAM, "serve", "--model", folder, "--port", "0"],
                                   stdout=subprocess.PIPE, stderr=stderr, text=True)
    line = process.stdout.readline()
    assert line.startswith("listening on http://"), log.read_text()
    yield line.removeprefix("listening on ").strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def make_project(folder, side):
    """A git repository with a bug and the tests that show it."""
    folder.mkdir()
    (folder / "calc.py").write_text(CALC)
    (folder / "test_calc.py").write_text(TEST_CALC.replace("{side}", str(side)))
    for command in (["init", "-q"], ["add", "."],
                    ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-qm", "calc"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def environment(home, **more):
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", **more}


def run(command, folder, env, proxy):
    """The agent's work from start to end. What it asked was answered, whole, and was what its script expects."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=600)
    assert not proxy.failures, proxy.failures
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    for exchange in proxy.exchanges:
        assert exchange.status == 200 and exchange.complete, (exchange.path, exchange.status, exchange.body[-1000:])
    return done


# Codex

CODEX_CONFIG = """
model = "gemma-4-coder"
model_provider = "lapidary"
approval_policy = "never"
sandbox_mode = "danger-full-access"
web_search = "disabled"
check_for_update_on_startup = false

[model_providers.lapidary]
name = "Lapidary"
base_url = "{url}/v1"
wire_api = "responses"

[model_providers.lapidary.auth]
command = "echo"
args = ["none"]

[mcp_servers.rules]
command = "{python}"
args = ["{server}", "{calls}"]

[features]
plugins = false

[analytics]
enabled = false
"""


def test_135_codex(programs, long_server, tmp_path):
    project = make_project(tmp_path / "project", side=2)
    calls = tmp_path / "mcp_calls"
    env = environment(tmp_path / "home", RUST_LOG="warn,codex_core=info,codex_api=debug,codex_client=debug")
    script = CodexScript(TESTS)
    with Proxy(long_server, script) as proxy:
        (tmp_path / "home/.codex").mkdir()
        (tmp_path / "home/.codex/config.toml").write_text(CODEX_CONFIG.format(
            url=proxy.url, python=sys.executable, server=HERE / "agent_mcp_server.py", calls=calls))
        done = run([programs / "codex", "exec", "--json", "The tests fail. Please repair add."], project, env, proxy)

    # The work is done, by the agent's own hands.
    assert (project / "calc.py").read_text() == FIXED
    assert json.loads(calls.read_text()) == {"function": "add"}
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [event for event in events if event["type"] in ("error", "turn.failed")]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    by_type = {kind: [item for item in items if item["type"] == kind] for kind in {item["type"] for item in items}}
    assert "error" not in by_type
    assert [command["exit_code"] for command in by_type["command_execution"]] == [1, 0]
    assert all(TESTS in command["command"] for command in by_type["command_execution"])
    assert by_type["mcp_tool_call"][0]["server"] == "rules" and by_type["mcp_tool_call"][0]["status"] == "completed"
    assert [change["kind"] for change in by_type["file_change"][0]["changes"]] == ["update"]
    assert by_type["agent_message"][-1]["text"] == json.dumps(CLOSING)

    # It knew the model from the server's catalogue, and asked once for each step.
    catalogue = json.loads(proxy.of("/v1/models")[0].body)["models"][0]
    asked = proxy.of("/v1/responses")
    assert len(asked) == len(script.steps) + 1
    assert asked[0].asked["input"][0]["content"][0]["text"].startswith(catalogue["base_instructions"])
    assert {"apply_patch", "mcp__rules"} <= {tool["name"] for tool in asked[0].asked["tools"]}
    trouble = re.compile(r"retr(y|ies)|reconnect|disconnect|failed to (parse|decode)|fallback metadata", re.IGNORECASE)
    assert not [line for line in done.stderr.splitlines() if trouble.search(line)]

    # What it counted is what the server said.
    usages = [exchange.events[-1]["response"]["usage"] for exchange in asked]
    cached = [usage["input_tokens_details"]["cached_tokens"] for usage in usages]
    for (before, usage), reused in zip(zip(usages, usages[1:]), cached[1:]):
        assert usage["input_tokens"] > before["input_tokens"] and reused > before["input_tokens"] - 64
    counted = [event["usage"] for event in events if event["type"] == "turn.completed"][0]
    assert counted["input_tokens"] == sum(usage["input_tokens"] for usage in usages)
    assert counted["cached_input_tokens"] == sum(cached)
    assert counted["output_tokens"] == sum(usage["output_tokens"] for usage in usages)


# Claude Code

def claude_environment(home, proxy):
    env = environment(home, ANTHROPIC_BASE_URL=proxy.url, ANTHROPIC_AUTH_TOKEN="none", ANTHROPIC_MODEL="gemma-4-coder",
                      CLAUDE_CODE_MAX_CONTEXT_TOKENS=str(CONTEXT), CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1")
    (home / ".claude.json").write_text('{"hasCompletedOnboarding": true}')
    return env


def test_149_claude_code(programs, long_server, tmp_path):
    project = make_project(tmp_path / "project", side=7)
    script = ClaudeScript(project, TESTS)
    log = tmp_path / "debug.log"
    with Proxy(long_server, script) as proxy:
        done = run([programs / "claude", "-p", "The tests fail. Please repair add.", "--output-format", "stream-json",
                    "--verbose", "--debug-file", log, "--allowedTools", "Bash,Read,Edit"],
                   project, claude_environment(tmp_path / "home", proxy), proxy)

    # The work is done, by the agent's own hands, across a compaction that it decided on.
    assert (project / "calc.py").read_text() == FIXED
    assert script.done == len(script.steps)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    result = [event for event in events if event["type"] == "result"][0]
    assert result["subtype"] == "success" and not result["is_error"] and result["result"] == json.dumps(CLOSING)
    boundaries = [event["compact_metadata"] for event in events if event.get("subtype") == "compact_boundary"]
    assert [boundary["trigger"] for boundary in boundaries] == ["auto"] and script.summaries == 1

    # Nothing was asked twice.
    asked = proxy.of("/v1/messages")
    assert len(asked) == len(script.steps) + 2
    assert {exchange.headers["X-Stainless-Retry-Count"] for exchange in asked} == {"0"}
    trouble = re.compile(r"api error|retrying|connection error|unexpected event|failed to parse|malformed", re.IGNORECASE)
    assert not [line for line in log.read_text().splitlines() if trouble.search(line)]

    # What it counted is what the server said; every turn goes on from the one before.
    usages = [[event["usage"] for event in exchange.events if event["type"] == "message_delta"][0] for exchange in asked]
    prompts = [usage["input_tokens"] + usage["cache_read_input_tokens"] for usage in usages]
    compaction = [prompt < before for before, prompt in zip(prompts, prompts[1:])].index(True) + 1
    for i in range(1, len(usages)):
        # Of what was said, a compaction leaves nothing; instructions and tools are still known.
        expected = prompts[0] / 2 if i == compaction else prompts[i - 1] - 64
        assert usages[i]["cache_read_input_tokens"] > expected
    counted = result["modelUsage"]["gemma-4-coder"]
    assert counted["contextWindow"] == CONTEXT
    assert counted["inputTokens"] == sum(usage["input_tokens"] for usage in usages)
    assert counted["cacheReadInputTokens"] == sum(usage["cache_read_input_tokens"] for usage in usages)
    assert counted["outputTokens"] == sum(usage["output_tokens"] for usage in usages)


def test_149_claude_code_counts(programs, long_server, tmp_path):
    """/context asks what the parts of a prompt take: instructions, tools, each alone."""
    project = make_project(tmp_path / "project", side=1)
    with Proxy(long_server, ClaudeScript(project, TESTS)) as proxy:
        done = run([programs / "claude", "-p", "/context", "--output-format", "json"], project,
                   claude_environment(tmp_path / "home", proxy), proxy)
    counts = proxy.of("/v1/messages/count_tokens")
    assert len(counts) > 10 and not proxy.of("/v1/messages")
    tokens = [json.loads(exchange.body)["input_tokens"] for exchange in counts]
    tools = [len(exchange.asked["tools"]) for exchange in counts]
    assert max(tokens) > 5000 and tools[tokens.index(max(tokens))] == max(tools) > 5
    assert re.search(r"System tools \| [0-9.]+k", json.loads(done.stdout)["result"])
