"""The store of a sweep: one SQLite file, one row per finished cell."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...converter.errors import DataError

APPLICATION_ID = 0x5350504F  # "SPPO": other programs' SQLite files are not touched
VERSION = 1
WAIT_SECONDS = 10.0
"""For another process that is writing."""

_TABLE = """
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY, settings TEXT NOT NULL, result TEXT NOT NULL, seconds REAL NOT NULL
) STRICT
"""


@dataclass(frozen=True)
class Row:
    """A finished cell.

    Attributes:
        key: SHA-256 of everything that the result depends on.
        settings: What was asked for.
        result: What `spikeport evaluate --json` writes, without the seconds.
        seconds: Of conversion and evaluation; the only thing that differs between two runs.
    """

    key: str
    settings: Mapping[str, Any]
    result: Mapping[str, Any]
    seconds: float


class Store:
    """Cells in an SQLite file; every one is on the disk when `add` returns.

    Any number of processes may use one file. Opened by `open_store`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def keys(self) -> set[str]:
        """Return the keys of all finished cells."""
        with _explained(self._path):
            return {key for (key,) in self._connection.execute("SELECT key FROM cells")}

    def add(self, row: Row) -> None:
        """Keep a finished cell; one that another process has added meanwhile stays as it is."""
        values = (row.key, _to_text(row.settings), _to_text(row.result), row.seconds)
        with _explained(self._path):
            self._connection.execute("INSERT OR IGNORE INTO cells VALUES (?, ?, ?, ?)", values)

    def rows(self) -> list[Row]:
        """Return all finished cells, sorted by their settings."""
        query = "SELECT key, settings, result, seconds FROM cells ORDER BY settings, key"
        with _explained(self._path):
            found = self._connection.execute(query).fetchall()
        try:
            return [Row(key, json.loads(a), json.loads(b), seconds) for key, a, b, seconds in found]
        except ValueError as error:
            raise DataError(
                f"{self._path}: holds a row that is no JSON, expected what spikeport writes",
                hint="the file was changed; start another store",
            ) from error


@contextmanager
def open_store(path: Path, *, create: bool) -> Iterator[Store]:
    """Open a store, and close it in the end.

    Args:
        path: An SQLite file.
        create: Make it if it does not exist; else it is only read.

    Raises:
        DataError: No such file, not a store, of a newer version, locked, or not writable.
    """
    if not create and not path.is_file():
        raise DataError(f"{path}: no such file, expected a store", hint="spikeport sweep makes one")
    with _explained(path):
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'ro'}"
        connection = sqlite3.connect(uri, timeout=WAIT_SECONDS, isolation_level=None, uri=True)
        try:
            _check(path, connection, create=create)
        except BaseException:
            connection.close()
            raise
    try:
        yield Store(path, connection)
    finally:
        connection.close()


def _check(path: Path, connection: sqlite3.Connection, *, create: bool) -> None:
    # Tables first: another process makes them together with the id, maybe between these lines.
    (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID and (n_tables or not create):
        raise DataError(
            f"{path}: is another program's SQLite file, expected a store",
            hint="nothing was changed; give another name",
        )
    if version > VERSION:
        raise DataError(
            f"{path}: is a store of version {version}, expected at most {VERSION}",
            hint="it was written by a newer spikeport: update, or start another store",
        )
    if create:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line and a hint."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            hint = "another process holds it; wait for it to end, or use another store"
        elif "readonly" in text or "unable to open" in text:
            hint = "check the name and the permissions of the file and its folder"
        else:
            hint = "it is damaged or no SQLite file; start another store"
        raise DataError(f"{path}: cannot be used as a store ({text})", hint=hint) from error


def _to_text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
