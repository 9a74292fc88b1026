"""A stand-in for a network that is gone: connections stay open, and nothing comes through any more."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from psycopg2.extensions import make_dsn, parse_dsn

from tests.integration.splitter import reach


class Freezer:
    """Passes bytes on between clients and a server, until `frozen` is set. New connections are accepted then, too."""

    def __init__(self, url: str) -> None:
        self._target = parse_dsn(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_dsn(url, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable")
        self.frozen = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Freezer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = reach(self._target)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        """Also the end: what a frozen client has closed, the server hears of."""
        with suppress(OSError), source:
            while data := source.recv(65536):
                if not self.frozen.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
