"""`lapidary serve` with options of a test's own."""
import contextlib
import json
import signal
import socket
import subprocess
import time

from conftest import PROGRAM


def start(*options, stderr=None):
    """The process and its base URL. Whoever starts it ends it."""
    process = subprocess.Popen([str(PROGRAM), "serve", "--port", "0", *map(str, options)], stdout=subprocess.PIPE,
                               stderr=stderr, text=True)
    line = process.stdout.readline()
    assert line.startswith("listening on http://"), line
    return process, line.removeprefix("listening on ").strip()


@contextlib.contextmanager
def serving(*options):
    """Its base URL. It must end by itself when it is told to."""
    process, base = start("--log-level", "error", *options)
    try:
        yield base
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def until(condition, seconds=20):
    """Waits for something that must come true."""
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "it did not come true"
        time.sleep(0.01)


def open_stream(base, path, body, headers=""):
    """A socket on which the request has been sent; nothing of the answer is read."""
    host, port = base.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    client = socket.create_connection((host, int(port)), timeout=60)
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return client


def read_all(client):
    """What comes until the stream's last chunk, or until the other side closes."""
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):
        piece = client.recv(65536)
        if not piece:
            break
        data += piece
    return data
