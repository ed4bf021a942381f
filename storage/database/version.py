"""The schema version of a database, the one this code works with, and the error when they differ."""

import re
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect

from storage.errors import DatabaseUnusable
from storage.redaction import safe_database_url

VERSION_TABLE = "alembic_version"


def known_versions() -> list[str]:
    """Return every schema version that this code knows, oldest first: the files among the migrations."""
    files = (Path(__file__).parent / "migrations" / "versions").iterdir()
    return sorted(file.name[:4] for file in files if file.suffix == ".py" and file.name[0].isdigit())


def head_version() -> str:
    """Return the schema version that this code works with."""
    return known_versions()[-1]


def schema_version(engine: Engine) -> str | None:
    """Return the schema version of the database, None for one without candlecast's tables."""
    with engine.connect().execution_options(reads_only=True) as conn:
        return version_in(conn)


def version_in(conn: Connection) -> str | None:
    """Return the schema version that `conn` sees, None where candlecast's tables are not recorded."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    # Another program's table of this name may lack our column. Asking for its columns first would take longer.
    with conn.exec_driver_sql(f"SELECT * FROM {VERSION_TABLE}") as stored:  # noqa: S608 - our own table
        if "version_num" not in stored.keys():  # noqa: SIM118 - no dictionary
            return "of another kind"
        version: str | None = stored.scalars("version_num").first()
    return version


def wrong_version(engine: Engine, version: str) -> DatabaseUnusable:
    """Return the error for a database of another schema version."""
    head = head_version()
    if version in known_versions():
        remedy = "run candlecast daily or candlecast ingest, which upgrade it"
    elif re.fullmatch(r"\d{4}", version) and version > head:
        remedy = "upgrade candlecast"
    else:
        remedy = "another program made it: give candlecast a separate database in CANDLECAST_DATABASE_URL"
    return DatabaseUnusable(
        f"{safe_database_url(engine)} has schema {version}, this candlecast works with {head}; {remedy}"
    )
