"""serve under small limits: bodies of all requests together, and what decoding media may cost."""
import base64
import contextlib
import gzip
import json
import select
import socket
import struct
import time
import urllib.error
import urllib.request
import zlib

import pytest

from conftest import TREE
from serving import serving


def post(base, path, body, headers=None):
    request = urllib.request.Request(base + path, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def say(text, size=0):
    return json.dumps({"model": "lapidary-demo", "max_tokens": 1, "messages": [{"role": "user", "content": text}], "metadata": {"padding": "x" * size}}).encode()


def png(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = zlib.compress((b"\0" + b"\x80\x40\x20" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def see(*pictures):
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(p).decode()}} for p in pictures]
    return json.dumps({"max_tokens": 1, "messages": [{"role": "user", "content": parts + [{"type": "text", "text": "?"}]}]}).encode()


@contextlib.contextmanager
def half_sent(base, size):
    """A request of which all but one byte is there."""
    host, port = base.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size + 1}\r\n\r\n".encode()
    until = time.time() + 20
    while True:
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head)
            # The body of the request before may be held a moment longer than its answer takes: then this one is refused.
            if select.select([client], [], [], 0.5)[0] and time.time() < until:
                continue
            client.sendall(b" " * size)
            yield client
            return


def refused(base, *request):
    """The first answer that is none: until all bytes of the half-sent request are there, some still find room."""
    until = time.time() + 20
    while (found := post(base, *request))[0] == 200 and time.time() < until:
        time.sleep(0.05)
    return found


def test_bodies_of_all_requests_together():
    with serving("--max-body-mb", 1, "--max-bodies-mb", 1) as base:
        large = say("hi", 600_000)
        assert post(base, "/v1/chat/completions", large)[0] == 200
        with half_sent(base, 500_000):
            status, headers, answer = refused(base, "/v1/chat/completions", large)
            assert status == 503 and int(headers["Retry-After"]) >= 1 and headers["x-request-id"]
            assert answer["error"]["type"] == "server_error" and "no room now" in answer["error"]["message"]
            status, headers, answer = refused(base, "/v1/messages", large, {"anthropic-version": "2023-06-01"})
            assert status == 529 and headers["Retry-After"] and answer["error"]["type"] == "overloaded_error"
            status, headers, answer = refused(base, "/api/chat", large)
            assert status == 503 and headers["Retry-After"] and "no room now" in answer["error"]
            # Small while it is packed.
            packed = gzip.compress(say("hi", 900_000))
            status, headers, answer = refused(base, "/v1/chat/completions", packed, {"Content-Encoding": "gzip"})
            assert status == 503 and headers["Retry-After"] and "expands" in answer["error"]["message"]
            assert post(base, "/v1/chat/completions", say("hi", 1000))[0] == 200
        until = time.time() + 20
        while (found := post(base, "/v1/chat/completions", large))[0] == 503 and time.time() < until:
            time.sleep(0.05)
        assert found[0] == 200
        for _ in range(5):  # nothing of the packed ones is left
            assert post(base, "/v1/chat/completions", gzip.compress(say("hi", 400_000)), {"Content-Encoding": "gzip"})[0] == 200


def test_decoded_bytes_of_a_request():
    with serving("--max-decoded-mb", 1) as base:
        assert post(base, "/v1/chat/completions", see(png(400, 400), png(400, 400)))[0] == 200
        for body in (see(png(700, 700)), see(png(400, 400), png(400, 400), png(400, 400))):
            status, _, answer = post(base, "/v1/chat/completions", body)
            assert status == 400 and answer["error"]["code"] == "invalid_image", answer
            assert "at most 1048576 bytes once decoded" in answer["error"]["message"] and answer["error"]["param"].startswith("messages[0].content[")
        assert post(base, "/v1/chat/completions", say("hi"))[0] == 200


def test_decoding_takes_no_longer_than_it_may():
    with serving("--image-decode-timeout", 1e-9, "--video-decode-timeout", 1e-9) as base:
        status, _, answer = post(base, "/v1/chat/completions", see(png(40, 40)))
        assert status == 400 and answer["error"]["code"] == "invalid_image" and "decoded within" in answer["error"]["message"]
        sound = (TREE / "examples/recording.wav").read_bytes()
        part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound).decode(), "format": "wav"}}
        status, _, answer = post(base, "/v1/chat/completions", json.dumps({"max_tokens": 1, "messages": [{"role": "user", "content": [part]}]}).encode())
        assert status == 400 and answer["error"]["code"] == "invalid_audio" and "decoded within" in answer["error"]["message"]
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + sound + b"\r\n--b--\r\n"
        status, _, answer = post(base, "/v1/audio/transcriptions", form, {"Content-Type": "multipart/form-data; boundary=b"})
        assert status == 400 and "decoded within" in answer["error"]["message"]


@pytest.mark.parametrize("option", ["--max-bodies-mb", "--max-decoded-mb", "--image-decode-timeout", "--video-decode-timeout"])
def test_the_limits_are_listed(lapidary, option):
    assert option in lapidary("serve", "--help").stdout and option in lapidary("completion").stdout
