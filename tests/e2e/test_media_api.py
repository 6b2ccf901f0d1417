"""What reaches the server as pictures, sound and addresses of them. Numbers in names are the cases of the API
specification."""
import base64
import contextlib
import http.server
import json
import os
import struct
import threading
import zlib

import pytest

from conftest import TREE
from http_client import ask, base64_of
from serving import serving

CHAT = "/v1/chat/completions"
PICTURE = TREE / "examples/picture.jpg"


def see(base, *urls, text="Describe the picture.", **fields):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls] + [{"type": "text", "text": text}]
    return ask(base + CHAT, {"messages": [{"role": "user", "content": parts}], "temperature": 0, "max_tokens": 40, **fields})


def data_url(data, kind="image/png"):
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def resident(base):
    line = [line for line in ask(base + "/metrics").body.decode().split("\n") if line.startswith("process_resident_memory_bytes")]
    return float(line[0].split()[-1])


def huge_png(side):
    """A valid header and a little of the pixels."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(40_000_000))) + chunk(b"IEND", b"")


def long_gif(frames):
    """Frames of one pixel."""
    frame = b"\x21\xf9\x04\x00\x01\x00\x00\x00" + b"\x2c\0\0\0\0\x01\0\x01\0\0" + b"\x02\x02\x44\x01\x00"
    return b"GIF89a\x01\0\x01\0\x80\0\0\xff\0\0\0\0\xff" + frame * frames + b"\x3b"


def test_099_pictures_that_are_larger_than_they_look(server):
    before = resident(server)
    answer = see(server, data_url(huge_png(50_000)))
    assert answer.status == 400 and answer.json["error"]["code"] == "invalid_image"
    gif = see(server, data_url(long_gif(10_000), "image/gif"))
    assert gif.status == 200 and gif.json["usage"]["prompt_tokens_details"]["image_tokens"] == \
        see(server, data_url(long_gif(1), "image/gif")).json["usage"]["prompt_tokens_details"]["image_tokens"]
    assert resident(server) - before < 200 << 20


def test_100_order_of_parts(server):
    def prompt(*kinds):
        parts = [{"type": "text", "text": kind} if kind in ("one", "two") else
                 {"type": "image_url", "image_url": {"url": data_url(PICTURE.read_bytes(), "image/jpeg")}} for kind in kinds]
        return ask(server + "/apply-template", {"messages": [{"role": "user", "content": parts}]}).json["prompt"]
    first, second = prompt("one", "picture", "two", "picture"), prompt("picture", "one", "picture", "two")
    assert first != second
    assert first.index("one") < first.index("<|image") < first.index("two") < first.rindex("<|image")
    assert second.index("<|image") < second.index("one") < second.rindex("<|image") < second.index("two")


def test_102_sound_beyond_the_limit_of_a_clip(server):
    # In a conversation it is refused; transcription goes window by window.
    size = 2 * 8000 * 31
    long = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", size) + bytes(size)
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(long).decode(), "format": "wav"}}
    answer = ask(server + CHAT, {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1})
    assert answer.status == 400 and answer.json["error"]["code"] == "invalid_audio" and "30 s" in answer.json["error"]["message"]
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + long + b"\r\n--b--\r\n"
    assert ask(server + "/v1/audio/transcriptions", form, headers={"Content-Type": "multipart/form-data; boundary=b"}).status == 200


def test_104_what_a_model_lacks():
    with serving("--model", TREE / "tests/golden/models/d31b-vision") as base:
        part = {"type": "input_audio", "input_audio": {"data": base64_of(TREE / "examples/recording.wav"), "format": "wav"}}
        answer = ask(base + CHAT, {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1})
        assert answer.status == 400 and answer.json["error"]["code"] == "unsupported_media_type"
    with serving("--model", TREE / "tests/golden/models/d31b") as base:
        answer = see(base, data_url(PICTURE.read_bytes(), "image/jpeg"), max_tokens=1)
        assert answer.status == 400 and answer.json["error"]["code"] == "unsupported_media_type"


class Host(http.server.BaseHTTPRequestHandler):
    """What fetches meet: pictures, pages, redirections, bodies without an end."""
    def do_GET(self):
        self.server.seen.append(self.path)
        name, _, rest = self.path.removeprefix("/").partition("/")
        if name == "hop":
            left = int(rest)
            return self.redirect(f"/hop/{left - 1}" if left else "/picture")
        if name == "to":
            return self.redirect(rest)
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            if name == "endless":
                while True:
                    self.wfile.write(b"\xff\xd8\xff" + bytes(65536))
            self.wfile.write(PICTURE.read_bytes() if name == "picture" else b"<html>TOPSECRET</html>")

    def redirect(self, where):
        self.send_response(302)
        self.send_header("Location", where)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def host():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.daemon_threads = True
    server.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_107_no_private_address_is_asked(host):
    port = host.server_address[1]
    with serving("--allow-url", "*") as base:
        for name in ("127.0.0.1", "[::1]", "169.254.169.254", "10.1.2.3", "0x7f000001", "2130706433", "127.1", "[::ffff:127.0.0.1]",
                     "localhost", "localhost.", "0.0.0.0", "192.168.0.1", "100.64.0.1"):
            for suffix in ("", f":{port}"):
                answer = see(base, f"http://{name}{suffix}/picture")
                assert answer.status == 400, (name, answer.body)
                assert answer.json["error"]["code"] in ("media_url_not_allowed", "failed_to_download_media"), answer.body
        assert host.seen == []


def test_108_to_110_redirections_and_bodies(host):
    port = host.server_address[1]
    here = f"http://127.0.0.1:{port}"
    with serving("--allow-url", f"127.0.0.1:{port}", "--max-image-mb", 1) as base:
        assert see(base, here + "/picture").json["choices"][0]["message"]["content"] == \
            see(base, data_url(PICTURE.read_bytes(), "image/jpeg")).json["choices"][0]["message"]["content"]
        assert see(base, here + "/hop/2").status == 200 and see(base, here + "/hop/4").status == 400
        seen = len(host.seen)
        for elsewhere in ("http://10.0.0.1/", "http://169.254.169.254/latest", f"http://[::1]:{port}/picture", "file:///etc/passwd", f"http://localhost:{port}/picture"):
            assert see(base, f"{here}/to/{elsewhere}").status == 400, elsewhere
        assert len(host.seen) == seen + 5 and all(path.startswith("/to/") for path in host.seen[seen:])
        page = see(base, here + "/page")
        assert page.status == 400 and b"TOPSECRET" not in page.body
        endless = see(base, here + "/endless")
        assert endless.status in (400, 413)


def test_111_files(tmp_path):
    inside = tmp_path / "media"
    inside.mkdir()
    (inside / "picture.jpg").write_bytes(PICTURE.read_bytes())
    (tmp_path / "outside.jpg").write_bytes(PICTURE.read_bytes())
    (inside / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    os.mkfifo(inside / "fifo")
    with serving("--media-path", inside) as base:
        assert see(base, f"file://{inside}/picture.jpg").status == 200 and see(base, "file:picture.jpg").status in (200, 400)
        wrong = [see(base, url) for url in ("file:///etc/passwd", f"file://{inside}/link.jpg", f"file://{inside}/..%2foutside.jpg",
                                            f"file://{inside}/../outside.jpg", f"file://{inside}/fifo", f"file://{inside}/none.jpg")]
        assert [answer.status for answer in wrong] == [400] * len(wrong)
        assert len({answer.json["error"]["message"] for answer in wrong}) == 1


def test_112_names_that_look_like_listed_ones():
    with serving("--allow-url", "a.example") as base:
        for url in ("http://a.example.evil.example/x.png", "http://a.example@evil.example/x.png", "http://evil-a.example/x.png",
                    "http://b.a.example/x.png", "ftp://a.example/x.png", "http://a.example:81/x.png"):
            answer = see(base, url)
            assert answer.status == 400 and answer.json["error"]["code"] == "media_url_not_allowed", (url, answer.body)


def test_a_part_is_named_in_errors(server):
    answer = see(server, data_url(PICTURE.read_bytes(), "image/jpeg"), data_url(b"nothing"))
    assert json.loads(answer.body)["error"]["param"].startswith("messages[0].content[1]")
