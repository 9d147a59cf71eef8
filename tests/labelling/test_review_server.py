"""Server of the review: its own page alone, on this computer, and nothing of the disk."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from monai_semiseg.errors import ConfigError
from monai_semiseg.labelling import review_server
from monai_semiseg.labelling.decisions import read_decisions
from monai_semiseg.labelling.review_cases import open_review
from monai_semiseg.labelling.review_server import MOST_BODY, ReviewServer
from tests.labelling.review_builders import write_run

JSON = {"Content-Type": "application/json"}


class Client:
    """Requests as a browser, or somebody else, sends them."""

    def __init__(self, server: ReviewServer, out: Path) -> None:
        self.server = server
        self.out = out
        self.host = f"127.0.0.1:{server.server_port}"
        self.origin = {"Origin": f"http://{self.host}"}

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        try:
            connection.request(method, path, body, {"Host": self.host, **(headers or {})})
            reply = connection.getresponse()
            return reply.status, reply.read(), reply.headers
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        return self.ask(f"/{self.server.token}/{path}", headers=headers)

    def decide(
        self, content: object, headers: dict[str, str], path: str = "cases/0/decision"
    ) -> int:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask(f"/{self.server.token}/{path}", "POST", body, headers)[0]

    @property
    def accept(self) -> dict[str, Any]:
        facts = json.loads(self.get("cases/0")[1])
        return {"decision": "accepted", "note": "", "mask_sha256": facts["mask_sha256"]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    out = write_run(tmp_path_factory.mktemp("run"))
    with open_review(out) as review, ReviewServer(review) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Client(server, out)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _no_decision_is_left(client: Client) -> Iterator[None]:
    yield
    (client.out / "decisions.csv").unlink(missing_ok=True)


def test_the_page_and_its_data(client: Client) -> None:
    status, page, headers = client.get("")
    assert status == 200 and b"<title>Review of masks</title>" in page
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    scripts = [file.name for file in Path(review_server.__file__).parent.glob("review_page/*.js")]
    assert len(scripts) == 5
    for name in scripts:
        status, _, headers = client.get(name)
        assert status == 200 and headers.get_content_type() == "text/javascript"
    assert client.get("page.css")[2].get_content_type() == "text/css"
    overview = json.loads(client.get("cases")[1])
    assert [case["id"] for case in overview["cases"]] == ["b", "sub/a", "c"]
    facts = json.loads(client.get("cases/0")[1])
    cut = client.get("cases/0/0/10/0")[1]
    assert len(cut) == 20 * 24 * 3 and facts["shape"] == [20, 24, 16]


def test_nothing_from_elsewhere_may_run_or_frame_it(client: Client) -> None:
    for path in ("", "cases", "nothing"):
        headers = client.get(path)[2]
        rules = dict(
            rule.strip().partition(" ")[::2]
            for rule in headers["Content-Security-Policy"].split(";")
        )
        assert rules["default-src"] == "'none'" and rules["frame-ancestors"] == "'none'"
        assert {rules[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
    page = Attributes()
    page.feed(client.get("")[1].decode())
    assert page.links == ["page.css", "page.js"] and page.scripts == 1
    assert not [name for name in page.names if name == "style" or name.startswith("on")]


class Attributes(HTMLParser):
    """Collects what a page loads, and the names of all attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str | None] = []
        self.names: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.names += [name for name, _ in attributes]
        self.links += [value for name, value in attributes if name in ("src", "href")]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/cases",
        "/favicon.ico",
        "//cases",
        "/{short}/cases",
        "/{other}/cases",
        "/é/cases",
        "*",
        "//[",
    ],
    ids=["root", "none", "icon", "empty", "short", "other", "letters", "star", "brackets"],
)
def test_without_the_token_nothing_is_told(client: Client, path: str) -> None:
    token = client.server.token
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    asked = path.format(short=token[:-1], other=other).encode().decode("latin-1")
    status, body, _ = raw(client, f"GET {asked} HTTP/1.1\r\nHost: {client.host}\r\n\r\n")
    assert status in (403, 400) and b"kidney" not in body and b"Review" not in body


def raw(client: Client, request: str) -> tuple[int, bytes, bytes]:
    with socket.create_connection(("127.0.0.1", client.server.server_port), timeout=20) as link:
        link.sendall(request.encode("latin-1"))
        link.shutdown(socket.SHUT_WR)
        answer = b""
        while part := link.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body, head


@pytest.mark.parametrize(
    "host",
    ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""],
)
def test_another_name_for_this_computer_is_refused(client: Client, host: str) -> None:
    """Refuse a web site's name that leads to the loopback address: DNS rebinding."""
    named = host.format(port=client.server.server_port)
    assert client.get("cases", Host=named)[0] == 403
    answer = client.decide(client.accept, {**JSON, "Origin": f"http://{named}", "Host": named})
    assert answer == 403 and read_decisions(client.out) == {}


def test_no_name_or_two_names_are_refused(client: Client) -> None:
    path = f"GET /{client.server.token}/cases HTTP/1.1\r\n"
    mine = f"Host: {client.host}\r\n"
    assert raw(client, f"{path}\r\n")[0] == 403
    assert raw(client, f"{path}{mine}Host: evil.example\r\n\r\n")[0] == 403
    assert raw(client, f"{path}{mine}Connection: close\r\n\r\n")[0] == 200
    localhost = f"Host: localhost:{client.server.server_port}\r\nConnection: close\r\n"
    assert raw(client, f"{path}{localhost}\r\n")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/report.json",
        "report.json",
        "review_page/page.js",
        "page.js/../../decisions.py",
        "page.js%00.html",
        "/etc/passwd",
        "cases/../../out/report.json",
        "cases/0/0/0",
        "cases/0/0/0/0/0",
        "cases/9",
        "cases/-1",
        "cases/0/9/0/0",
        "cases/0/0/99/0",
        "cases/0/0/0/9",
        "cases/٣",
        "cases/" + "9" * 400,
    ],
)
def test_no_path_leads_to_the_disk(client: Client, path: str) -> None:
    asked = f"/{client.server.token}/{path}".encode().decode("latin-1")
    close = f"Host: {client.host}\r\nConnection: close\r\n\r\n"
    status, body, _ = raw(client, f"GET {asked} HTTP/1.1\r\n{close}")
    assert status == 404 and json.loads(body) == {"error": "no such thing"}


def test_a_decision_of_the_own_page_is_kept(client: Client) -> None:
    assert client.decide(client.accept, {**JSON, **client.origin}) == 200
    assert read_decisions(client.out)["b"].decision == "accepted"
    same = {"Sec-Fetch-Site": "same-origin"}
    assert (
        client.decide({**client.accept, "decision": None}, {**JSON, **client.origin, **same}) == 200
    )
    assert read_decisions(client.out) == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
    ],
    ids=["none", "null", "site", "scheme", "cross", "other-port", "text", "form", "no-type"],
)
def test_another_page_cannot_decide(client: Client, headers: dict[str, str], status: int) -> None:
    sent = JSON if not headers else {**JSON, **client.origin, **headers}
    assert client.decide(client.accept, sent) == status
    assert read_decisions(client.out) == {}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"decision": "perhaps"}, 400),
        ({"decision": 1}, 400),
        ({"note": None}, 400),
        ({"note": "n" * 2001}, 400),
        ({"note": "n" * MOST_BODY}, 413),
        ({"mask_sha256": ["a"]}, 400),
        ({"mask_sha256": "0" * 64}, 409),
    ],
    ids=["decision", "number", "no-note", "long", "too-long", "hash", "other-mask"],
)
def test_a_decision_that_is_none_is_refused(
    client: Client, change: dict[str, Any], status: int
) -> None:
    assert client.decide({**client.accept, **change}, {**JSON, **client.origin}) == status
    assert read_decisions(client.out) == {}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b"[" * 15_000],
    ids=["empty", "cut", "list", "bytes", "deep"],
)
def test_a_body_that_is_no_decision(client: Client, body: bytes) -> None:
    assert client.decide(body, {**JSON, **client.origin}) == 400


@pytest.mark.parametrize(
    "size",
    [
        "Content-Length: 99999999999999",
        "Content-Length: -5",
        "Content-Length: a",
        "X: y",
        "Transfer-Encoding: chunked",
        f"Content-Length: {MOST_BODY + 1}",
    ],
)
def test_a_body_of_unknown_or_excessive_size_is_not_read(client: Client, size: str) -> None:
    head = f"POST /{client.server.token}/cases/0/decision HTTP/1.1\r\nHost: {client.host}\r\n"
    head += f"Origin: http://{client.host}\r\nContent-Type: application/json\r\n{size}\r\n\r\n"
    status, _, answer = raw(client, head)
    assert status in (411, 413) and b"Connection: close" in answer


@pytest.mark.parametrize("path", ["", "cases", "cases/0", "cases/0/0/0/0", "cases/x/decision"])
def test_there_is_nothing_else_to_post_to(client: Client, path: str) -> None:
    assert client.decide(client.accept, {**JSON, **client.origin}, path) == 404


def test_a_case_that_does_not_exist_cannot_be_decided(client: Client) -> None:
    answer = client.decide(client.accept, {**JSON, **client.origin}, "cases/9/decision")
    assert answer == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    assert client.ask(f"/{client.server.token}/cases", method)[0] == 501


def test_an_image_that_cannot_be_read_is_named(client: Client, tmp_path: Path) -> None:
    out = write_run(tmp_path)
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"cut")
    with open_review(out) as review, ReviewServer(review) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            there = Client(server, out)
            status, body, _ = there.get("cases/0")
            assert status == 422 and "b.nii.gz" in json.loads(body)["error"]
            assert there.get("cases/1")[0] == 200
        finally:
            server.shutdown()
            thread.join()


def test_it_listens_on_the_loopback_address_alone(client: Client) -> None:
    assert client.server.socket.getsockname()[0] == "127.0.0.1"
    assert client.server.url.startswith("http://127.0.0.1:") and len(client.server.token) >= 43


def test_the_server_that_began_last_has_the_folder(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_review(write_run(tmp_path)) as review, ReviewServer(review) as first:
        assert first.has_folder
        with ReviewServer(review) as second:
            assert second.has_folder and not first.has_folder
    monkeypatch.setattr(ReviewServer, "has_folder", False)
    assert client.decide(client.accept, {**JSON, **client.origin}) == 409


def test_a_port_that_is_taken_is_refused(client: Client) -> None:
    with open_review(client.out) as review:
        with pytest.raises(ConfigError, match="--port"):
            ReviewServer(review, client.server.server_port)
        with pytest.raises(ConfigError, match="--port"):
            ReviewServer(review, 99_999)


def test_the_folder_is_free_behind_it(tmp_path: Path) -> None:
    out = write_run(tmp_path)
    tokens = set()
    for _ in range(2):
        with open_review(out) as review, ReviewServer(review) as server:
            tokens.add(server.token)
    assert len(tokens) == 2 and not list(out.glob(".review*"))
