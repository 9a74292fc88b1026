"""A stand-in for poolers of the worst kinds, which no released one is any more."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Sequence

TLS, GSS = 80877103, 80877104  # requests for encryption instead of a start-up message


class Splitter:
    """Hands each statement of the connections that `split` chooses (by number) to the next of two server
    connections; the others it only passes on. With `databases` each new connection goes to the next of them.

    Speaks just enough of the protocol for it: of two start-ups one answer is kept back, and simple queries
    alternate. The server must ask for no password.
    """

    def __init__(self, target: dict[str, str], *, split: Callable[[int], bool], databases: Sequence[str] = ()) -> None:
        self._target = target
        self._split = split
        self._databases = itertools.cycle(databases or [target["dbname"]])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Splitter:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        for number in itertools.count():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            arguments = (client, next(self._databases), self._split(number))
            threading.Thread(target=self._converse, args=arguments, daemon=True).start()

    def _converse(self, client: socket.socket, database: str, split: bool) -> None:
        with client, reach(self._target) as first, reach(self._target) as second:
            try:
                start = _start(client, database)
                for server, listener in ((first, client), (second, None)):
                    server.sendall(start)
                    _until_ready(server, listener)
                for server in itertools.cycle((first, second) if split else (first,)):
                    kind, message = _message(client)
                    if kind == b"X":
                        return
                    server.sendall(message)
                    _until_ready(server, client)
            except (OSError, EOFError):
                return


def reach(target: dict[str, str]) -> socket.socket:
    """A connection to the server of a connection string."""
    host, port = target.get("host", "127.0.0.1"), int(target.get("port", 5432))
    if host.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{host}/.s.PGSQL.{port}")
        return connection
    return socket.create_connection((host, port))


def _start(client: socket.socket, database: str) -> bytes:
    """The start-up message, asking for this database."""
    while True:
        body = _exactly(client, int.from_bytes(_exactly(client, 4), "big") - 4)
        if int.from_bytes(body[:4], "big") in (TLS, GSS):
            client.sendall(b"N")
            continue
        words = body[4:].rstrip(b"\0").split(b"\0")
        settings = dict(zip(words[::2], words[1::2], strict=True)) | {b"database": database.encode()}
        content = body[:4] + b"".join(key + b"\0" + value + b"\0" for key, value in settings.items()) + b"\0"
        return (len(content) + 4).to_bytes(4, "big") + content


def _until_ready(server: socket.socket, client: socket.socket | None) -> None:
    kind = b""
    while kind != b"Z":
        kind, message = _message(server)
        if client:
            client.sendall(message)


def _message(peer: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(peer, 5)
    return head[:1], head + _exactly(peer, int.from_bytes(head[1:], "big") - 4)


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data
