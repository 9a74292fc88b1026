"""A stand-in for a pooler of the worst kind, which no released one is any more."""

from __future__ import annotations

import socket
import threading


class Splitter:
    """A pooler of the worst kind: it hands each statement to the next of its two server connections.

    Speaks just enough of the protocol for it: the start-up of the first connection is passed on, that of
    the second kept back, and simple queries alternate. The server must ask for no password.
    """

    def __init__(self, target: dict[str, str]) -> None:
        self._target = target
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

    def _server(self) -> socket.socket:
        host, port = self._target.get("host", "127.0.0.1"), int(self._target.get("port", 5432))
        if host.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(f"{host}/.s.PGSQL.{port}")
            return connection
        return socket.create_connection((host, port))

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._split, args=(client,), daemon=True).start()

    def _split(self, client: socket.socket) -> None:
        with client, self._server() as first, self._server() as second:
            try:
                start = self._start(client)
                for server, listener in ((first, client), (second, None)):
                    server.sendall(start)
                    self._until_ready(server, listener)
                for turn in range(10**6):
                    kind, message = self._message(client)
                    if kind == b"X":
                        return
                    server = (first, second)[turn % 2]
                    server.sendall(message)
                    self._until_ready(server, client)
            except (OSError, EOFError):
                return

    def _start(self, client: socket.socket) -> bytes:
        while True:
            size = self._exactly(client, 4)
            body = self._exactly(client, int.from_bytes(size, "big") - 4)
            if body[:4] == (80877103).to_bytes(4, "big") or body[:4] == (80877104).to_bytes(4, "big"):
                client.sendall(b"N")  # neither TLS nor GSS
                continue
            return size + body

    def _until_ready(self, server: socket.socket, client: socket.socket | None) -> None:
        kind = b""
        while kind != b"Z":
            kind, message = self._message(server)
            if client:
                client.sendall(message)

    def _message(self, peer: socket.socket) -> tuple[bytes, bytes]:
        head = self._exactly(peer, 5)
        return head[:1], head + self._exactly(peer, int.from_bytes(head[1:], "big") - 4)

    @staticmethod
    def _exactly(peer: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = peer.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data
