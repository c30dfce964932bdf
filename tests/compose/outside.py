"""A sign-in provider and a collector of traces outside of the containers, as far as the service needs them.

    outside.py ADDRESS FOLDER

Listens on a free port of the address. Writes into the folder: `url`, when it listens; `token`, for the scope service; `spans`, what the
service has sent to the collector.
"""

import base64
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ADDRESS, FOLDER = sys.argv[1], Path(sys.argv[2])
KEY = FOLDER / "key.pem"


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Outside(BaseHTTPRequestHandler):
    def answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/.well-known/openid-configuration":
            found = {"issuer": url, "jwks_uri": f"{url}/keys"}
        else:
            found = {"keys": [{"kty": "RSA", "kid": "one", "alg": "RS256", "n": encoded(modulus), "e": "AQAB"}]}
        self.answer(json.dumps(found).encode(), "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            with (FOLDER / "spans").open("ab") as spans:
                spans.write(body)
        self.answer(b"", "application/x-protobuf")

    def log_message(self, *_: object) -> None:
        pass


openssl("genrsa", "-out", str(KEY), "2048")
modulus = bytes.fromhex(openssl("rsa", "-in", str(KEY), "-noout", "-modulus").decode().strip().removeprefix("Modulus="))
server = ThreadingHTTPServer((ADDRESS, 0), Outside)
url = f"http://{ADDRESS}:{server.server_port}"
claims = {"iss": url, "aud": "drive", "sub": "compose-test", "scope": "service", "exp": int(time.time()) + 3600}
message = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one"}, claims))
signature = encoded(openssl("dgst", "-sha256", "-sign", str(KEY), given=message.encode()))
(FOLDER / "token").write_text(f"{message}.{signature}")
(FOLDER / "url").write_text(url)
server.serve_forever()
