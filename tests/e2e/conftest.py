"""The program as a user runs it: the built binary, the shipped model, and the tiny golden models."""
import json
import os
import pathlib
import signal
import subprocess

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("LAPIDARY", TREE / "build/release/bin/lapidary"))


class Lapidary:
    def __call__(self, *arguments, stdin=None, env=None, timeout=300):
        """Runs one command; returns the finished process with text output."""
        return subprocess.run([str(PROGRAM), *map(str, arguments)], input=stdin, capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, **(env or {})})

    def json(self, *arguments, **keywords):
        """Runs a command that must succeed and print one JSON object on one line of stdout."""
        done = self(*arguments, "--format", "json", **keywords)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1 and done.stdout.endswith("\n")
        return json.loads(done.stdout)

    def error(self, *arguments, **keywords):
        """Runs a command that must fail with status 1 and one clear line; returns that line."""
        done = self(*arguments, **keywords)
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("lapidary: error: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr.strip()


@pytest.fixture(scope="session")
def lapidary():
    assert PROGRAM.exists(), f"{PROGRAM} is not built"
    return Lapidary()


@pytest.fixture(scope="session")
def tree():
    return TREE


@pytest.fixture(scope="session")
def server(lapidary):
    """`lapidary serve` with the shipped model; gives its base URL. It must end by itself when it is told to."""
    process = subprocess.Popen([str(PROGRAM), "serve", "--port", "0", "--log-level", "warn"], stdout=subprocess.PIPE,
                               text=True)
    line = process.stdout.readline()
    assert line.startswith("listening on http://"), line
    yield line.removeprefix("listening on ").strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
