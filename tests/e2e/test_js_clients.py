"""The JavaScript clients: openai-node and the Vercel AI SDK, each in the version that package.json names. They are fetched
into a temporary folder; without node, npm or the network there is nothing to run them with."""
import os
import pathlib
import shutil
import subprocess

import pytest

FOLDER = pathlib.Path(__file__).parent / "js"


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    major = int(subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.lstrip("v").split(".")[0])
    if major < 20:
        pytest.skip(f"node {major} is too old, the clients need 20")
    folder = tmp_path_factory.mktemp("js")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder,
                          capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        pytest.skip(f"npm could not fetch the clients: {done.stderr.strip()[:300]}")
    return folder


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.js")))
def test_js(packages, server, tree, name):
    done = subprocess.run(["node", "--test", "--test-reporter=spec", name], cwd=packages, capture_output=True, text=True,
                          timeout=900, env={**os.environ, "LAPIDARY_URL": server,
                                            "LAPIDARY_EXAMPLES": str(tree / "examples")})
    assert done.returncode == 0, done.stdout + done.stderr
