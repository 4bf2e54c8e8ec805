"""A folder that two hosts see: the secret that both know, and the records of where machines are that have moved."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from ringviz.errors import MigrationError
from ringviz.vmm.migration.decision import FileRecord

SECRET = "secret"
_SECRET_BYTES = 32
SHORTEST_SECRET_BYTES = 16
_RECORD = re.compile(r"move-[0-9a-f]{32}")


class SharedFolder:
    """The folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def make(self) -> None:
        """Have the folder and a secret in it that only this user can read, if they are not there.

        Raises:
            MigrationError: it cannot be written; one line.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            draft = self.path / f"{SECRET}.{secrets.token_hex(8)}"
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_hex(_SECRET_BYTES).encode())
            with suppress(FileExistsError):
                os.link(draft, self.path / SECRET)
            draft.unlink()
        except OSError as error:
            raise MigrationError(f"{self.path.name}: cannot be shared: {error.strerror}") from None

    def secret(self) -> bytes:
        """Give what both hosts know.

        Raises:
            MigrationError: there is none there, or it is too short.
        """
        try:
            secret = (self.path / SECRET).read_bytes()
        except OSError as error:
            raise MigrationError(
                f"{self.path.name}: no secret can be read there: {error.strerror}; the destination makes one"
            ) from None
        if len(secret) < SHORTEST_SECRET_BYTES:
            found, least = len(secret), SHORTEST_SECRET_BYTES
            raise MigrationError(f"{self.path.name}: its secret has {found} bytes, expected at least {least}")
        return secret

    def new_record(self) -> str:
        """Give the name of a record that has never been used."""
        return f"move-{secrets.token_hex(16)}"

    def record(self, name: str) -> FileRecord:
        """Give a record by name.

        Raises:
            MigrationError: it is no name of a record.
        """
        if not _RECORD.fullmatch(name):
            raise MigrationError(f'the record has the name "{name[:60]}", expected move- and 32 hexadecimal digits')
        return FileRecord(self.path / name)
