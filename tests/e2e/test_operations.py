"""serve as those who run it see it: deadlines, queues, signals, keys, origins, metrics, logs. Numbers in names are the
cases of the API specification."""
import json
import pathlib
import re
import signal
import socket
import struct
import threading
import time

import anthropic
import openai
import pytest

from conftest import TREE
from http_client import ask
from serving import open_stream, read_all, serving, start, until

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Who are you?"}], "temperature": 0}
ENDLESS = {**HELLO, "ignore_eos": True, "stream": True}


def load(base):
    """What is being answered and what waits."""
    text = ask(base + "/metrics").body.decode()
    return [sum(float(value) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)", text, re.M))
            for name in ("vllm:num_requests_running", "vllm:num_requests_waiting")]


def counter(base, name, label=""):
    text = ask(base + "/metrics").body.decode()
    return sum(float(value) for labels, value in re.findall(rf"^{re.escape(name)}{{?([^}}\n]*?)}}? (\S+)$", text, re.M)
               if label in labels)


def resident(base):
    return int(counter(base, "process_resident_memory_bytes"))


# A. Transport

def zstd_of_zeros(blocks):
    """A frame of `blocks` blocks, each 128 KiB of one byte in four bytes."""
    block = struct.pack("<I", 1 << 1 | (128 << 10) << 3)[:3] + b" "
    last = struct.pack("<I", 1 | 1 << 1 | (128 << 10) << 3)[:3] + b" "
    return b"\x28\xb5\x2f\xfd" + b"\x00\x38" + block * (blocks - 1) + last


def test_007_a_bomb(server):
    before = resident(server)
    for blocks, status in ((32768, 413), (1, 400)):  # 4 GiB; 128 KiB of spaces are no JSON
        answer = ask(server + CHAT, zstd_of_zeros(blocks), headers={"Content-Encoding": "zstd"})
        assert answer.status == status, answer.body
    assert resident(server) - before < 300 << 20


# B. Errors

def test_021_and_022_a_deadline():
    with serving("--request-timeout", 0.3, "--threads", 1) as base:
        answer = ask(base + CHAT, {**ENDLESS, "stream": False})
        assert answer.status == 504 and answer.headers["x-should-retry"] == "false"
        assert answer.json["error"]["code"] == "timeout" and answer.json["error"]["type"] == "server_error"
        before = counter(base, "http_requests_total", "/v1/chat/completions")
        with pytest.raises(openai.InternalServerError):
            openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=2).chat.completions.create(
                model="lapidary-demo", messages=HELLO["messages"], extra_body={"ignore_eos": True})
        assert counter(base, "http_requests_total", "/v1/chat/completions") == before + 1
        # In the middle of a stream the error is its last event, on each surface in its own words.
        with pytest.raises(openai.APIError, match="took longer"):
            for _ in openai.OpenAI(base_url=base + "/v1", api_key="none").chat.completions.create(
                    model="lapidary-demo", messages=HELLO["messages"], stream=True, extra_body={"ignore_eos": True}):
                pass
        streamed = ask(base + CHAT, ENDLESS)
        assert streamed.status == 200 and b'"code":"timeout"' in streamed.body.split(b"\n\n")[-2]
        with pytest.raises(anthropic.APIStatusError):
            with anthropic.Anthropic(base_url=base, api_key="none").messages.stream(
                    model="any", max_tokens=4000, messages=HELLO["messages"], extra_body={"ignore_eos": True}) as events:
                for _ in events:
                    pass
        name, data = ask(base + "/v1/messages", {**ENDLESS, "max_tokens": 4000}).events[-1]
        assert name == "error" and data["error"]["type"] == "timeout_error"
        long = [{"role": "user", "content": "hello world " * 1500}]  # whose prompt takes longer than that
        lines = ask(base + "/api/chat", {"model": "any", "messages": long}).lines
        assert isinstance(lines[-1].get("error"), str) and sum("error" in line for line in lines) == 1
        # 125: whatever happens, a stream of responses ends with one of its three ends.
        events = ask(base + "/v1/responses", {"input": "Who are you?", "stream": True, "ignore_eos": True, "max_output_tokens": 4000}).events
        assert events[-1][0] in ("response.failed", "response.incomplete", "response.completed")
        assert events[-1][0] == "response.failed" and events[-1][1]["response"]["error"]["code"] == "server_error"


def test_023_and_179_a_full_queue():
    with serving("--sequences-max", 1, "--queue-max", 1) as base:
        streams = [open_stream(base, CHAT, ENDLESS)]
        until(lambda: load(base) == [1, 0])
        streams.append(open_stream(base, CHAT, ENDLESS))
        until(lambda: load(base) == [1, 1])
        for path, status in ((CHAT, 429), ("/v1/responses", 429), ("/v1/messages", 529), ("/api/chat", 503)):
            body = {**HELLO, "model": "lapidary-demo", "input": "Hi", "max_tokens": 5}
            answer = ask(base + path, {key: value for key, value in body.items() if path != "/v1/responses" or key in ("model", "input")})
            assert answer.status == status, (path, answer.body)
            assert 0 < int(answer.headers["Retry-After"]) <= 120
        assert ask(base + CHAT, HELLO).json["error"]["code"] == "rate_limit_exceeded"
        # The package waits and asks again, and is answered when there is room.
        threading.Timer(0.3, lambda: [stream.close() for stream in streams]).start()
        client = openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=5)
        assert "demo" in client.chat.completions.create(model="lapidary-demo", **HELLO).choices[0].message.content


def test_028_model_names():
    def status(base, path, name):
        body = {**HELLO, "max_tokens": 2, "stream": False, **({"model": name} if name else {})}
        return ask(base + path, body).status
    with serving() as base:
        assert [status(base, path, "no-such") for path in (CHAT, "/v1/messages", "/api/chat")] == [404, 200, 200]
        assert [status(base, path, None) for path in (CHAT, "/v1/messages")] == [200, 200]


# O. Metrics and measures

METRICS = """vllm:num_requests_waiting vllm:num_requests_running vllm:kv_cache_usage_perc vllm:gpu_cache_usage_perc
vllm:e2e_request_latency_seconds_bucket vllm:time_to_first_token_seconds_bucket vllm:inter_token_latency_seconds_bucket
vllm:time_per_output_token_seconds_bucket vllm:request_queue_time_seconds_bucket vllm:request_prefill_time_seconds_bucket
vllm:request_decode_time_seconds_bucket vllm:request_inference_time_seconds_bucket vllm:request_prompt_tokens_bucket
vllm:request_generation_tokens_bucket vllm:request_max_num_generation_tokens_bucket vllm:request_params_n_bucket
vllm:request_params_max_tokens_bucket vllm:iteration_tokens_total_bucket vllm:prompt_tokens_total vllm:generation_tokens_total
vllm:request_success_total vllm:num_preemptions_total vllm:prefix_cache_queries_total vllm:prefix_cache_hits_total
vllm:mm_cache_queries_total vllm:mm_cache_hits_total vllm:spec_decode_num_drafts_total
vllm:spec_decode_num_draft_tokens_total vllm:spec_decode_num_accepted_tokens_total
vllm:spec_decode_num_accepted_tokens_per_pos_total http_requests_total http_request_duration_seconds_bucket
process_resident_memory_bytes llamacpp:prompt_tokens_total llamacpp:prompt_seconds_total llamacpp:tokens_predicted_total
llamacpp:tokens_predicted_seconds_total llamacpp:prompt_tokens_seconds llamacpp:predicted_tokens_seconds
llamacpp:requests_processing llamacpp:requests_deferred llamacpp:n_decode_total llamacpp:n_busy_slots_per_decode
llamacpp:n_tokens_max llamacpp:spec_decode_num_drafts_total llamacpp:spec_decode_num_draft_tokens_total
llamacpp:spec_decode_num_accepted_tokens_total""".split()


def test_169_metrics_are_well_formed_from_the_start():
    parser = pytest.importorskip("prometheus_client.parser")
    with serving() as base:
        answer = ask(base + "/metrics")
        text = answer.body.decode()
        for name in METRICS:
            assert re.search(rf"^{name}[{{ ]|^# TYPE {name.removesuffix('_bucket')} ", text, re.M), name
        families = list(parser.text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(families) > 30
        for family in families:
            assert family.documentation and family.type != "unknown", family.name
            if family.type != "histogram":
                continue
            buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
            assert buckets == [] or any(sample.labels["le"] == "+Inf" for sample in buckets), family.name


def test_170_gauges():
    with serving("--sequences-max", 3) as base:
        streams = [open_stream(base, CHAT, ENDLESS) for _ in range(8)]
        until(lambda: load(base) == [3, 5])
        assert 0 < counter(base, "vllm:kv_cache_usage_perc") <= 1
        for stream in streams:
            stream.close()
        until(lambda: load(base) == [0, 0])
        assert counter(base, "vllm:kv_cache_usage_perc") == 0


def test_171_an_aborted_request_counts_as_such(server):
    def aborted():
        return counter(server, "vllm:request_success_total", 'finished_reason="abort"')
    before = aborted()
    with open_stream(server, CHAT, ENDLESS):
        until(lambda: load(server)[0] > 0)
    until(lambda: aborted() == before + 1)


def test_172_what_drafts_did(server):
    names = ("vllm:spec_decode_num_draft_tokens_total", "vllm:spec_decode_num_accepted_tokens_total")
    before = [counter(server, name) for name in names]
    answer = ask(server + CHAT, {**HELLO, "ignore_eos": True, "max_tokens": 200}).json
    proposed, accepted = [counter(server, name) - was for name, was in zip(names, before)]
    details = answer["usage"]["completion_tokens_details"]
    assert proposed >= accepted and proposed > 0
    assert details["accepted_prediction_tokens"] == accepted == answer["timings"].get("draft_n_accepted", 0)
    assert details["rejected_prediction_tokens"] == proposed - accepted and answer["timings"]["draft_n"] == proposed


def test_173_timings_add_up(server):
    for fields in ({}, {"max_tokens": 1}, {"n": 2}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}):
        for path, extra in ((CHAT, HELLO), ("/v1/completions", {"prompt": "The red circle", "max_tokens": 4})):
            answer = ask(server + path, {**extra, **fields})
            assert b"Infinity" not in answer.body and b"NaN" not in answer.body
            if "stream" in fields:
                last = json.loads(answer.body.split(b"\n\n")[-3].removeprefix(b"data: "))
                timings, usage = last["timings"], last.get("usage")
            else:
                timings, usage = answer.json["timings"], answer.json["usage"]
                assert re.fullmatch(r"queue;dur=[\d.]+, prefill;dur=[\d.]+, decode;dur=[\d.]+", answer.headers["Server-Timing"])
            if usage:
                assert timings["cache_n"] + timings["prompt_n"] == usage["prompt_tokens"]
                assert timings["predicted_n"] == usage["completion_tokens"]


def test_174_further_measures_when_they_are_wanted(server):
    assert not {"time_info", "metrics"} & ask(server + CHAT, HELLO).json.keys()
    with serving("--time-info", "--request-metrics") as base:
        whole = ask(base + CHAT, HELLO).json
        last = json.loads(ask(base + CHAT, {**HELLO, "stream": True}).body.split(b"\n\n")[-3].removeprefix(b"data: "))
        text = ask(base + "/v1/completions", {"prompt": "The", "max_tokens": 3}).json
        for answer in (whole, last, text):
            info, metrics = answer["time_info"], answer["metrics"]
            assert 0 <= info["queue_time"] + info["prompt_time"] + info["completion_time"] and info["total_time"] > 0
            assert metrics["time_to_first_token_ms"] > 0 and metrics["tokens_per_second"] >= 0
            drafts = metrics["speculative_decoding"]
            assert drafts["num_draft_tokens"] >= drafts["num_accepted_draft_tokens"] >= 0
        assert ask(base + CHAT, {**HELLO, "n": 2}).json["metrics"] is None


# P. Operations

def test_177_many_clients_that_open_and_leave(server):
    for _ in range(200):
        open_stream(server, CHAT, ENDLESS).close()
    until(lambda: load(server) == [0, 0])
    assert counter(server, "vllm:kv_cache_usage_perc") == 0


def test_178_a_reader_that_stops_reading():
    with serving() as base:
        host, port = base.removeprefix("http://").split(":")
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((host, int(port)))
        # Every chunk repeats the 20 likeliest tokens: much text, soon.
        body = json.dumps({**ENDLESS, "n": 4, "guided_regex": "([a-z]{1,9} )+", "logprobs": True, "top_logprobs": 20}).encode()
        stuck.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        before = resident(base)
        until(lambda: load(base)[0] > 0)
        assert "demo" in ask(base + CHAT, HELLO).json["choices"][0]["message"]["content"]
        until(lambda: counter(base, "vllm:request_success_total", 'finished_reason="abort"') == 4, seconds=120)
        assert load(base) == [0, 0] and resident(base) - before < 100 << 20
        stuck.close()


def test_180_sigterm():
    process, base = start("--log-level", "error", "--drain-timeout", 300)
    streams = [open_stream(base, CHAT, {**ENDLESS, "max_tokens": 3000}) for _ in range(3)]
    until(lambda: load(base)[0] == 3)
    process.send_signal(signal.SIGTERM)
    until(lambda: ask(base + "/health").status == 503)
    assert ask(base + CHAT, HELLO).status == 503
    for stream in streams:
        text = read_all(stream)
        assert b"data: [DONE]" in text and b'"finish_reason":"length"' in text
    assert process.wait(timeout=60) == 0

    process, base = start("--log-level", "error")
    stream = open_stream(base, CHAT, ENDLESS)
    until(lambda: load(base)[0] == 1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    stream.close()


def test_181_keys(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first-key\n")
    process, base = start("--log-level", "error", "--api-key-file", keys)
    try:
        def status(headers=None, path="/v1/models"):
            return ask(base + path, headers=headers or {}).status
        refused = ask(base + "/v1/models")
        assert refused.status == 401 and refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.json["error"]["code"] == "invalid_api_key"
        assert status({"Authorization": "Bearer wrong"}) == status({"x-api-key": "first-ke"}) == 401
        for headers in ({"Authorization": "Bearer first-key"}, {"Authorization": "bearer first-key"}, {"x-api-key": "first-key"},
                        {"api-key": "first-key"}):
            assert status(headers) == 200, headers
        assert status(path="/health") == 200 and status(path="/") == 200
        assert ask(base + "/v1/messages", {}).json["error"]["type"] == "authentication_error"
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=base + "/v1", api_key="wrong").models.list()
        keys.write_text("second-key\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: status({"x-api-key": "second-key"}) == 200)
        assert status({"x-api-key": "first-key"}) == 401
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_182_an_open_address_needs_a_key(lapidary):
    line = lapidary.error("serve", "--host", "0.0.0.0", "--port", 0)
    assert "key" in line and "--no-auth" in line


def test_183_origins(server):
    def preflight(origin):
        return ask(server + CHAT, method="OPTIONS", headers={
            "Origin": origin, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os,x-stainless-retry-count"})
    foreign = preflight("https://evil.example")
    assert foreign.headers["Access-Control-Allow-Origin"] is None
    # Nobody else's pages, until they are named.
    with serving("--cors-origin", "http://localhost:3000", "--cors-origin", "app://obsidian.md") as base:
        for origin in ("http://localhost:3000", "app://obsidian.md"):
            answer = ask(base + CHAT, method="OPTIONS", headers={
                "Origin": origin, "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os,x-stainless-retry-count,anthropic-version"})
            assert answer.status == 204 and answer.headers["Access-Control-Allow-Origin"] == origin
            allowed = answer.headers["Access-Control-Allow-Headers"].lower()
            assert allowed == "*" or all(name in allowed for name in ("authorization", "content-type", "x-stainless-os", "x-stainless-retry-count", "anthropic-version"))
            assert ask(base + "/v1/models", headers={"Origin": origin}).headers["Access-Control-Allow-Origin"] == origin


def test_185_and_186_bounds_of_a_request():
    with serving("--max-body-mb", 1, "--header-timeout", 1, "--body-timeout", 1, "--max-tools", 2, "--max-n", 2) as base:
        def status(path=CHAT, body=HELLO, **keywords):
            return ask(base + path, body, **keywords).status
        assert status(headers={"X": "a" * (65 << 10)}) == 431
        assert status("/v1/models?" + "a" * (17 << 10), None) == 414
        assert status(body=b" " * ((1 << 20) + 1)) == 413
        deep = json.dumps({**HELLO, "metadata": {}}).replace("{}", "[" * 200 + "]" * 200).encode()
        assert status(body=deep) == 400
        assert status(body={"messages": HELLO["messages"] * 10_001}) == 400
        assert status(body={"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 1001}]}) == 400
        assert status(body={**HELLO, "tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(3)]}) == 400
        assert status(body={**HELLO, "n": 3}) == 400
        assert status(body={**HELLO, "guided_regex": "a" * 5000}) == 400
        host, port = base.removeprefix("http://").split(":")
        for begin in (b"POST /v1/chat/completions HTTP/1.1\r\nHost: loc", b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"):
            with socket.create_connection((host, int(port)), timeout=30) as client:
                client.sendall(begin)
                assert client.recv(4096).startswith(b"HTTP/1.1 408")
        idle = [socket.create_connection((host, int(port))) for _ in range(200)]
        assert ask(base + "/health").status == 200
        for client in idle:
            client.close()


def test_189_nothing_of_a_session_shows(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("SECRETKEY1\n")
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process, base = start("--log-level", "debug", "--api-key-file", keys, stderr=stderr)
        headers = {"Authorization": "Bearer SECRETKEY1"}
        said = []
        for body in ({**HELLO, "messages": [{"role": "user", "content": "SECRETWORD2"}]},
                     {**HELLO, "messages": [{"role": "user", "content": "SECRETWORD2"}], "temperature": "SECRETWORD2"},
                     {**HELLO, "tools": [{"type": "function", "function": {"name": "SECRETWORD2"}}]}, b'{"SECRETWORD2":'):
            said.append(ask(base + CHAT, body, headers=headers))
        ask(base + "/v1/models", headers={"Authorization": "Bearer SECRETKEY3"})
        ask(base + "/api/chat", {"model": "m", "messages": [{"role": "user", "content": "SECRETWORD2"}]}, headers=headers)
        for path in ("/metrics", "/props", "/v1/models", "/health", "/load"):
            answer = ask(base + path, headers=headers)
            assert answer.status == 200 and b"SECRET" not in answer.body, path
            assert str(TREE).encode() not in answer.body and str(pathlib.Path.home()).encode() + b"/" not in answer.body, path
        for answer in said:
            assert answer.status == 200 or b"SECRETKEY" not in answer.body
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "SECRET" not in log.read_text()
