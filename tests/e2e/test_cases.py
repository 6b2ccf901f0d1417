"""docs/api-cases.md is true: every case has a test of its number or a line in the table, and every test there exists."""
import re


def test_every_case_is_proved_or_listed(tree):
    numbered, names = set(), set()
    for path in sorted((tree / "tests/e2e").glob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M):
            names.add(name)
            numbers = [int(number) for number in re.findall(r"_(\d{3})(?=_|$)", name)]
            if "_to_" in name and len(numbers) >= 2:
                numbers = range(numbers[0], numbers[1] + 1)
            numbered.update(numbers)
    for path in (tree / "tests").rglob("*.cpp"):
        names.update(".".join(pair) for pair in re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", path.read_text(), re.M))
    listed = set()
    for cases, proof in re.findall(r"^\| (\d+(?:–\d+)?) \|[^|]*\|([^|]*)\|$", (tree / "docs/api-cases.md").read_text(), re.M):
        first, _, last = cases.partition("–")
        listed.update(range(int(first), int(last or first) + 1))
        for name in re.findall(r"`([^`]+)`", proof):
            assert (tree / name).exists() if "/" in name else name in names, name
    assert sorted(set(range(1, 191)) - numbered - listed) == []
