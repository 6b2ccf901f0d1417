"""Conversations drawn from a seed: every kind of message in every position that the prompt format allows, in combinations that
nobody would write down. Texts are short; what counts is where things stand.
"""

from __future__ import annotations

import conversations as talk

COUNT = 96
TEXTS = ["Hello", " What is 7 times 8? ", "one\ntwo\n\nthree", "Name a river.", "  ", "naïve 🙂 東京", "{\"a\": [1, 2]}", "x,y:z", "\tTabs\t",
         "The stone held the light of the evening."]
THOUGHTS = ["need a tool", "two\nlines\n", " spaces ", "7 * 8 = 56"]
VALUES = ["Bern", "", "it's \"quoted\"", 3, -0.5, 1e21, True, False, None, [1, "two", [None]], {"b": 1, "A": {"z": "y"}}]
TOOLS = [talk.WEATHER, talk.BOOK, talk.function("ping", "Ping"), talk.function("now", "Time", talk.schema({}))]


class _Draw:
    """Knuth's 64-bit linear congruential generator: the same everywhere and for ever."""

    def __init__(self, seed: int):
        self.state = seed * 2_862_933_555_777_941_757 + 1

    def below(self, count: int) -> int:
        self.state = (self.state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        return (self.state >> 33) % count

    def of(self, options):
        return options[self.below(len(options))]

    def chance(self, one_in: int) -> bool:
        return self.below(one_in) == 0


def _content(draw: _Draw, media: bool):
    """A string, nothing, or parts."""
    kind = draw.below(4 if media else 3)
    if kind == 0 or (kind == 2 and not draw.chance(2)):
        return draw.of(TEXTS)
    parts = [talk.text(draw.of(TEXTS)) for _ in range(1 + draw.below(2))]
    if kind == 3:
        parts.insert(draw.below(len(parts) + 1), {"type": draw.of(["image", "audio"])})
    return parts


def _calls(draw: _Draw, count: int) -> list:
    calls = []
    for index in range(count):
        arguments = {key: draw.of(VALUES) for key in ("city", "Unit", "a b")[:draw.below(4)]}
        name = draw.of(["get_weather", "book", "ping"])
        calls.append(talk.call(name, arguments, **({"id": f"c{index}"} if not draw.chance(3) else {})))
    return calls


def _results(draw: _Draw, calls: list) -> list:
    """Tool messages after a message with these calls: any number, in any order, found by id, by name or not at all."""
    messages = []
    for _ in range(draw.below(len(calls) + 2)):
        call = draw.of(calls)
        content = draw.of([draw.of(TEXTS), draw.of([5, 2.5, True, False]), [talk.text("a"), talk.text(" b ")],
                           [{"type": "image"}, talk.text("seen")], [talk.text("heard"), {"type": "audio"}, {"type": "image"}]])
        how = draw.below(3)
        fields = {"tool_call_id": call["id"]} if how == 0 and "id" in call else {"name": "ping"} if how == 1 else {}
        messages.append(talk.tool(content, **fields))
    return messages


def _assistant(draw: _Draw, answered: bool) -> list:
    """One message of the model, with its results."""
    fields = {}
    if draw.chance(2):
        fields[draw.of(["reasoning", "reasoning_content"])] = draw.of(THOUGHTS)
    content = draw.of([draw.of(TEXTS), "<|channel>thought\nold\n<channel|>" + draw.of(TEXTS), [talk.text(draw.of(TEXTS))]])
    if not answered and draw.chance(2):
        calls = _calls(draw, 1 + draw.below(3))
        if draw.chance(6):
            fields["tool_responses"] = [{"name": "ping", "response": draw.of(VALUES)}]
            return [talk.assistant(draw.of([None, content]), tool_calls=calls, **fields)]
        return [talk.assistant(draw.of([None, None, content]), tool_calls=calls, **fields), *_results(draw, calls)]
    return [talk.assistant(content, **fields)]


def conversation(seed: int) -> dict:
    draw = _Draw(seed)
    messages = []
    if draw.chance(2):
        messages.append({"role": draw.of(["system", "system", "developer"]), "content": _content(draw, media=False)})
    for turn in range(1 + draw.below(3)):
        messages.append(talk.user(_content(draw, media=True)))
        for _ in range(draw.below(3)):
            messages += _assistant(draw, answered=False)
        if draw.chance(2):
            messages += _assistant(draw, answered=True)
    if draw.chance(3) or len(messages) < 2:
        messages.append(talk.user(draw.of(TEXTS)))
    if draw.chance(3):  # the model waits for a tool, or has its answer
        calls = _calls(draw, 1 + draw.below(2))
        messages += [talk.assistant(None, tool_calls=calls, reasoning=draw.of(THOUGHTS)), *_results(draw, calls)]
    result = {"name": f"drawn-{seed}", "messages": messages, "enable_thinking": draw.chance(2),
              "preserve_thinking": draw.chance(3), "add_generation_prompt": not draw.chance(8)}
    if draw.chance(2):
        result["tools"] = [tool for tool in TOOLS if draw.chance(2)] or [talk.WEATHER]
    return result


DRAWN = [conversation(seed) for seed in range(COUNT)]
