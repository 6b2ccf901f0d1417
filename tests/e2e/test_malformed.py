"""Ten thousand requests that are wrong in some way: each gets a clear answer, none disturbs the server."""
import copy
import http.client
import json
import random

SEEDS = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0.5, "stop": ["x"],
                              "logit_bias": {"5": 1}, "tools": [{"type": "function", "function": {"name": "f", "parameters": {
                                  "type": "object", "properties": {"a": {"type": "string"}}}}}], "tool_choice": "auto",
                              "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "integer"}}},
                              "logprobs": True, "top_logprobs": 2, "n": 1, "seed": 1, "reasoning_effort": "none"}),
    ("/v1/chat/completions", {"messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "x"}], "max_tokens": 1, "stream_options": None}),
    ("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 1, "echo": True, "logprobs": 1, "n": 1}),
    ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}], "max_output_tokens": 1,
                       "instructions": "S", "text": {"format": {"type": "text"}}, "store": False}),
    ("/v1/messages", {"model": "m", "max_tokens": 1, "system": [{"type": "text", "text": "S"}],
                      "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
    ("/v1/messages/count_tokens", {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
    ("/api/chat", {"model": "lapidary-demo", "messages": [{"role": "user", "content": "Hi"}], "stream": False, "think": False,
                   "options": {"num_predict": 1, "temperature": "0.5"}}),
    ("/api/generate", {"model": "lapidary-demo", "prompt": "Hi", "stream": False, "think": False, "options": {"num_predict": 1}}),
    ("/api/show", {"model": "lapidary-demo"}),
    ("/tokenize", {"content": "Hi", "add_special": True}),
    ("/detokenize", {"tokens": [2, 5]}),
    ("/apply-template", {"messages": [{"role": "user", "content": "Hi"}]}),
]


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


ODD = [None, True, False, 0, -1, 1.5, 1e300, -1e300, 2**63, 2**64, -2**63, "", "x", "\u0000", "\ud83d\ude00", "é" * 50, [], {}, [[]], [None],
       {"": None}, {"type": "x"}, [1, "a", None], {"$ref": "#"}, {"type": "function"}, nested(40), nested(200), "data:image/png;base64,####",
       "http://127.0.0.1/x", "file:///etc/passwd", "<|tool_call>", "a" * 5000]


def places(value, path=()):
    """Every place inside a JSON value."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], path + (key,))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], path + (index,))


def mutated(rng, body):
    body = copy.deepcopy(body)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(places(body))[1:] or [()])
        if not path:
            return body
        holder = body
        for key in path[:-1]:
            holder = holder[key]
        kind = rng.random()
        if kind < 0.15:
            del holder[path[-1]]
        elif kind < 0.3 and isinstance(holder, dict):
            holder[rng.choice(["x", "type", "role", "content", "stream", "n", ""])] = copy.deepcopy(rng.choice(ODD))
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(ODD))
    return body


def damaged(rng, raw):
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw))
        kind = rng.random()
        if kind < 0.4:
            raw[at] = rng.randrange(256)
        elif kind < 0.7:
            del raw[at:at + rng.randint(1, 20)]
        else:
            raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        if not raw:
            return b"{"
    return bytes(raw)


def test_188_ten_thousand_malformed_requests(server):
    rng = random.Random(20)
    host = server.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    statuses = {}
    for number in range(10_000):
        path, body = SEEDS[number % len(SEEDS)]
        if rng.random() < 0.7:
            body = mutated(rng, body)
            # A stream, long answers and many choices are right, and take long.
            if isinstance(body, dict):
                for key in ("max_tokens", "max_output_tokens"):
                    if isinstance(body.get(key), (int, float)) and not isinstance(body[key], bool) and body[key] > 4:
                        body[key] = 4
            raw = json.dumps(body).encode()
        else:
            raw = damaged(rng, json.dumps(body).encode())
        connection.request("POST", path, raw, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status < 500 or answer.status == 501, (answer.status, path, raw[:2000], text[:500])
        if answer.status >= 400:
            message = json.loads(text)
            assert message.get("error"), (path, text)
    assert statuses[400] > 3000 and statuses.get(200, 0) > 500, statuses
    connection.request("GET", "/health")
    assert connection.getresponse().read() == b'{"status":"ok"}'
