"""Connections to PostgreSQL, directly or through a pooler such as PgBouncer, also one that pools transactions."""

import os
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

from storage.errors import DatabaseUnusable

# No just-in-time compilation: our queries are many look-ups by key, and with it a year of one series takes twice as
# long (benchmarks/query.py).
_OPTIONS = "-c timezone=UTC -c jit=off"

# A server or a firewall that forgets a silent connection is noticed within two minutes.
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "candlecast",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,
}


def postgresql_engine(url: URL, *, read_only: bool) -> Engine:
    """Return an engine for `url`, whose own options (such as a search_path) are kept and have priority.

    Raises DatabaseUnusable at the first connection if a pooler does not pass these options on.
    """
    own = url.query.get("options") or os.environ.get("PGOPTIONS", "")
    own = own if isinstance(own, str) else " ".join(own)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg").difference_update_query(["options"]),
        pool_pre_ping=True,
        connect_args={name: value for name, value in _DEFAULTS.items() if name not in url.query}
        | {"options": f"{_OPTIONS} {own}".strip()},
        execution_options={"postgresql_readonly": True} if read_only else {},
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401 - the driver's own connection
        import psycopg

        try:
            return psycopg.connect(*arguments, **options)
        except psycopg.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
        return psycopg.connect(*arguments, **{name: value for name, value in options.items() if name != "options"})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        if not _is_pooled(connection):
            return
        if own:
            raise DatabaseUnusable(
                "a pooler before PostgreSQL, such as PgBouncer, does not pass on the options of the database URL; name "
                "PostgreSQL itself in the URL, or set them for the role: ALTER ROLE ... SET search_path = ..."
            )
        # The next transaction may run in another session, which lacks the statements prepared in this one.
        connection.prepare_threshold = None
        # PgBouncer takes a client's time zone along, unlike most other settings.
        _autocommitted(connection, "SET TIME ZONE 'UTC'")

    return engine


def _is_pooled(connection: Any) -> bool:  # noqa: ANN401 - the driver's own connection
    """Return whether a pooler stands between us and PostgreSQL: it tells clients another process than the server's."""
    (pid,) = _autocommitted(connection, "SELECT pg_backend_pid()").fetchone()
    return bool(pid != connection.info.backend_pid)


def _autocommitted(connection: Any, statement: str) -> Any:  # noqa: ANN401 - the driver's own connection and cursor
    before, connection.autocommit = connection.autocommit, True
    try:
        return connection.execute(statement)
    finally:
        connection.autocommit = before
