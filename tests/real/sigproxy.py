#!/usr/bin/env python3
"""Signs for S3 clients that cannot: unsigned requests in on loopback, signed ones out to the server.

Usage: sigproxy.py ENDPOINT REGION KEY SECRET

Debian builds Nix 2.34 without AWS credentials, so it can only ask anonymously; through this proxy it
reads and writes a private bucket. The port is a free one and is the first line of standard output.
Each request becomes one line on standard error, `METHOD TARGET STATUS`, so that a test can count them.
The signature is version 4 with an unsigned payload; bodies are streamed and must have a length. Ends
when standard input does, so that a test that dies leaves no proxy behind.
"""

import datetime
import hashlib
import hmac
import http.client
import os
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCHEME, UPSTREAM = urllib.parse.urlsplit(sys.argv[1])[:2]
REGION, KEY, SECRET = sys.argv[2:5]
# With TLS the authority to trust is in `SSL_CERT_FILE`, as everywhere.
CONNECTION = http.client.HTTPSConnection if SCHEME == "https" else http.client.HTTPConnection

# What a server must see again; all else of a request is the connection's own business.
PASSED_ON = (
    "cache-control", "content-encoding", "content-md5", "content-type",
    "if-match", "if-none-match", "range", "x-amz-storage-class",
)
# What belongs to the connection to the server and not to the answer.
DROPPED = ("connection", "content-length", "date", "server", "transfer-encoding")
# Copies go in pieces of this size: large enough to be cheap, small enough for any number of threads.
PIECE = 1 << 18


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(method, target):
    """Returns the target in canonical spelling, and the headers that sign it."""
    path, _, query = target.partition("?")
    path = quote(urllib.parse.unquote(path), safe="/")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    query = "&".join(f"{quote(k)}={quote(v)}" for k, v in pairs)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    day = now[:8]
    headers = {"host": UPSTREAM, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join([method, path, query, lines, names, "UNSIGNED-PAYLOAD"])
    scope = f"{day}/{REGION}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = mac(mac(mac(mac(b"AWS4" + SECRET.encode(), day), REGION), "s3"), "aws4_request")
    signature = mac(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}").hex()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return path + ("?" + query if query else ""), headers


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    connections = threading.local()

    def log_message(self, *_):
        pass

    def upstream(self):
        if getattr(self.connections, "value", None) is None:
            self.connections.value = CONNECTION(UPSTREAM, timeout=60)
        return self.connections.value

    def send_request(self, connection):
        target, headers = sign(self.command, self.path)
        for name, value in self.headers.items():
            if name.lower() in PASSED_ON:
                headers[name] = value
        left = int(self.headers.get("Content-Length") or 0)
        if self.command in ("PUT", "POST"):
            headers["Content-Length"] = str(left)
        connection.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        while left:
            piece = self.rfile.read(min(left, PIECE))
            left -= len(piece)
            connection.send(piece)

    def send_answer(self, answer):
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in DROPPED:
                self.send_header(name, value)
        length, body = answer.getheader("Content-Length"), None
        if length is None and self.command != "HEAD" and answer.status not in (204, 304):
            body = answer.read()
            length = str(len(body))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        if body is not None:
            self.wfile.write(body)
        else:
            while piece := answer.read(PIECE):
                self.wfile.write(piece)

    def serve(self):
        connection, status = self.upstream(), "-"
        try:
            self.send_request(connection)
            answer = connection.getresponse()
            status = answer.status
            self.send_answer(answer)
        except (OSError, http.client.HTTPException) as error:
            # The state of both connections is unknown: end them, and let the client try again.
            connection.close()
            self.connections.value = None
            self.close_connection = True
            status = f"failed ({error})"
        sys.stderr.write(f"{self.command} {self.path} {status}\n")
        sys.stderr.flush()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve


class Server(ThreadingHTTPServer):
    # Nix opens 25 connections at once; the default backlog of 5 would refuse some.
    request_queue_size = 256
    daemon_threads = True


def end_with_stdin():
    sys.stdin.buffer.read()
    os._exit(0)


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
threading.Thread(target=end_with_stdin, daemon=True).start()
server.serve_forever()
