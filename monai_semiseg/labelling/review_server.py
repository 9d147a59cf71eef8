"""Server of the page of a review: this computer's own browser alone, and only with the token."""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from monai_semiseg.errors import ConfigError, InputError, OutputError, SemisegError
from monai_semiseg.labelling.review_cases import ChangedMaskError, Review
from monai_semiseg.storage.newest import Newest

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MOST_BODY = 20_000  # bytes of a decision
_RECORD = ".review.json"
_SCRIPTS = ("page.js", "cases.js", "planes.js", "viewer.js", "elements.js")
_PAGE = {  # path below the token -> file of the page, type
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    **{name: (name, "text/javascript; charset=utf-8") for name in _SCRIPTS},
}
_CASE = re.compile(r"cases/(\d{1,7})", re.ASCII)
_SLICE = re.compile(r"cases/(\d{1,7})/(\d{1,2})/(\d{1,6})/(\d{1,4})", re.ASCII)
_DECISION = re.compile(r"cases/(\d{1,7})/decision", re.ASCII)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_STATUS = {  # of errors; the first that fits
    ChangedMaskError: HTTPStatus.CONFLICT,
    OutputError: HTTPStatus.INSUFFICIENT_STORAGE,
    ConfigError: HTTPStatus.CONFLICT,
    InputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    SemisegError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class ReviewServer(ThreadingHTTPServer):
    """Serve a review on the loopback address, to who knows the token in the URL.

    The server that began last writes the decisions of a folder; one before it then refuses to. Use
    it in a ``with`` statement.

    Args:
        review: the masks of a run.
        port: of the loopback address; 0 takes a free one.

    Raises:
        ConfigError: If the port is in use.
        OutputError: If the folder cannot be written.
    """

    daemon_threads = True

    def __init__(self, review: Review, port: int = 0) -> None:
        self.review = review
        self.token = secrets.token_urlsafe(32)
        self._newest = Newest(review.folder / _RECORD)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"--port {port}: {error}",
                expected="a free port from 1024 to 65535",
                remedy="leave --port out",
            ) from error
        try:
            self._newest.begin()
        except OutputError:
            self.server_close()
            raise

    @property
    def has_folder(self) -> bool:
        """Return True if no other review of the folder began after this one."""
        return self._newest.is_newest

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return what a browser may call this server; a rebound name of a web site is none."""
        return tuple(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))

    @property
    def url(self) -> str:
        """Return the address of the page; who knows it may see the images and decide."""
        return f"http://{self.hosts[0]}/{self.token}/"

    def server_bind(self) -> None:
        """Bind without a look-up of the computer's name, which may ask the network."""
        TCPServer.server_bind(self)
        self.server_name = LOOPBACK
        self.server_port = int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that has closed its page; log all else."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            logger.exception("a connection of the page failed")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket and free the folder."""
        self.server_close()
        self._newest.close()

    def __enter__(self) -> Self:
        return self


@dataclass(frozen=True)
class _Reply:
    status: HTTPStatus
    body: bytes
    kind: str = "application/json"


class _RefusalError(Exception):
    """A request that is refused, with a word for who reads it."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


class _Handler(BaseHTTPRequestHandler):
    """Answer one connection. Nothing of a request becomes a path of the file system."""

    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version = "monai-semiseg"
    sys_version = ""
    timeout = 60  # seconds that a request may take to arrive

    def do_GET(self) -> None:
        """Answer with the page, facts about a case, or a slice."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Keep a decision."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the token is in every path."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is no HTTP, or of another method, as every other one."""
        self.close_connection = True
        self._send(_error(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def _answer(self, make: Callable[[], _Reply]) -> None:
        try:
            reply = make()
        except _RefusalError as refusal:
            self.close_connection = True  # a body that is not read would be the next request
            reply = _error(refusal.status, refusal.text)
        except SemisegError as error:
            status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
            reply = _error(status, error.reason)
        except Exception:
            logger.exception("a request of the page failed")
            reply = _error(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; see its terminal")
        self._send(reply)

    def _send(self, reply: _Reply) -> None:
        self.send_response(reply.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def _path(self) -> str:
        """Return the path below the token, of a request that may be answered.

        Raises:
            _RefusalError: If the request names another host, as a page of a web site does whose
                name leads here (DNS rebinding), or has not the token.
        """
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            raise _RefusalError(HTTPStatus.FORBIDDEN, "another host")
        _, token, *rest = [*self.path.partition("?")[0].split("/"), ""]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _RefusalError(HTTPStatus.FORBIDDEN, "not the address that the terminal shows")
        return "/".join(rest).removesuffix("/")

    def _get(self) -> _Reply:
        path = self._path()
        review = self.server.review
        if path in _PAGE:
            name, kind = _PAGE[path]
            return _Reply(
                HTTPStatus.OK, (files(__package__) / "review_page" / name).read_bytes(), kind
            )
        if path == "cases":
            return _json(review.overview())
        try:
            if found := _CASE.fullmatch(path):
                return _json(review.images.get(int(found[1])).description())
            if found := _SLICE.fullmatch(path):
                number, plane, position, shown = map(int, found.groups())
                cut = review.images.get(number).slice_bytes(plane, position, shown)
                return _Reply(HTTPStatus.OK, cut, "application/octet-stream")
        except IndexError:
            pass
        raise _RefusalError(HTTPStatus.NOT_FOUND, "no such thing")

    def _post(self) -> _Reply:
        path = self._path()
        found = _DECISION.fullmatch(path)
        if found is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "no such thing")
        self._require_own_page()
        content = self._content()
        verdict, note, digest = (content.get(key) for key in ("decision", "note", "mask_sha256"))
        if not (
            isinstance(verdict, str | None) and isinstance(note, str) and isinstance(digest, str)
        ):
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "no decision")
        if not self.server.has_folder:
            text = "another review of this folder has begun: use its page"
            raise _RefusalError(HTTPStatus.CONFLICT, text)
        try:
            self.server.review.decide(int(found[1]), verdict, note, digest)
        except (IndexError, ValueError) as error:
            raise _RefusalError(HTTPStatus.BAD_REQUEST, str(error)) from error
        return _json({"kept": True})

    def _require_own_page(self) -> None:
        """Refuse a request that another page makes, even if it knew the token.

        Raises:
            _RefusalError: If the browser does not say that the page is ours, or the content is of
                a type that any page may send.
        """
        own = [f"http://{host}" for host in self.server.hosts]
        if self.headers.get("Origin") not in own:
            raise _RefusalError(HTTPStatus.FORBIDDEN, "another page")
        if self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise _RefusalError(HTTPStatus.FORBIDDEN, "another page")
        if self.headers.get_content_type() != "application/json":
            raise _RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no JSON")

    def _content(self) -> dict[str, Any]:
        """Return the JSON object of a request.

        Raises:
            _RefusalError: If it is too large, of unknown size, or no JSON object.
        """
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", length, re.ASCII) or "Transfer-Encoding" in self.headers:
            raise _RefusalError(HTTPStatus.LENGTH_REQUIRED, "of unknown size")
        if int(length) > MOST_BODY:
            raise _RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
        try:
            content = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "no JSON") from error
        if not isinstance(content, dict):
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "no JSON object")
        return content


def _json(content: Mapping[str, Any]) -> _Reply:
    return _Reply(HTTPStatus.OK, json.dumps(content).encode())


def _error(status: HTTPStatus, text: str) -> _Reply:
    return _Reply(status, json.dumps({"error": text}).encode())
