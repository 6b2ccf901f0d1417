"""Stands between an agent and the server, passes requests on and answers back as they are, and writes both down. The
shipped model is far too small for an agent's work, so a Script supplies the one thing it lacks: what to do next. It may
say so only as any client can, in fields of the request: tool_choice, and const in the schema of the tool that is to be
called, or a format of the closing text. The server's grammar then makes the model say it. Const is not part of a prompt,
so that the model reads what the agent wrote, and prefixes stay what they are."""
import dataclasses
import gzip
import http.client
import http.server
import json
import threading
import time
import urllib.parse

import zstandard

OF_CONNECTION = {"connection", "host", "content-length", "transfer-encoding", "keep-alive"}


@dataclasses.dataclass
class Exchange:
    method: str
    path: str
    headers: dict
    asked: object        # the agent's body
    sent: object = None  # what the server was sent, where a Script changed it
    status: int = 0
    body: bytes = b""
    seconds: float = 0
    complete: bool = False

    @property
    def events(self):
        """Of a stream: the data of every event."""
        return [json.loads(line[6:]) for line in self.body.decode().split("\n") if line.startswith("data: ")]


class Proxy:
    """with Proxy(server, script) as proxy: proxy.url; proxy.exchanges in the order of their arrival. script: called with
    each request's path and body; returns another body or None."""

    def __init__(self, server, script):
        self.exchanges = []
        self.failures = []
        address = urllib.parse.urlsplit(server).netloc
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def relay(self):
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                coding = self.headers.get("Content-Encoding", "identity")
                exchange = Exchange(self.command, self.path, dict(self.headers), json.loads(decode(data, coding) or "null"))
                proxy.exchanges.append(exchange)
                started = time.monotonic()
                try:
                    exchange.sent = script(self.path, exchange.asked)
                except Exception as error:
                    proxy.failures.append(error)
                    self.send_error(500, str(error))
                    return
                if exchange.sent is not None:
                    data = encode(json.dumps(exchange.sent).encode(), coding)
                self.pass_on(exchange, data)
                exchange.seconds = time.monotonic() - started

            def pass_on(self, exchange, data):
                server = http.client.HTTPConnection(address, timeout=600)
                server.request(self.command, self.path, data or None,
                               {name: value for name, value in self.headers.items() if name.lower() not in OF_CONNECTION})
                answer = server.getresponse()
                exchange.status = answer.status
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in OF_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while piece := answer.read1(65536):
                    exchange.body += piece
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
                self.wfile.flush()
                server.close()
                exchange.complete = True

            do_GET = do_POST = do_DELETE = relay

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *reason):
        self.http.shutdown()
        self.http.server_close()

    def of(self, path):
        return [each for each in self.exchanges if urllib.parse.urlsplit(each.path).path == path]


def decode(data, coding):
    return {"identity": bytes, "gzip": gzip.decompress,
            "zstd": lambda d: zstandard.ZstdDecompressor().decompressobj().decompress(d)}[coding](data)


def encode(data, coding):
    return {"identity": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[coding](data)

