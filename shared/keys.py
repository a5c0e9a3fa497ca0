"""API keys: made here, kept as hashes, read again whenever their file changes.

A key is 256 random bits, which nobody finds by trying: a plain SHA-256 protects it at rest as well
as a slow password hash would, and costs a request nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from pathlib import Path
from tempfile import NamedTemporaryFile

from shared.errors import AccessError

logger = logging.getLogger(__name__)

#: so that scanners for leaked secrets recognise one
_PREFIX = "scratch_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_HEADER = "# API keys of the scratch detector: name:sha256 of the key. `scratch keys` writes it.\n"


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(file: Path) -> dict[str, str]:
    """Hashes by name. Raises AccessError, and OSError where there is no file to read."""
    hashes: dict[str, str] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, digest = line.strip().partition(":")
        if not _NAME.fullmatch(name) or not _HASH.fullmatch(digest) or name in hashes:
            raise AccessError(f"{file}, line {number}: not `name:sha256`, or a name used twice")
        hashes[name] = digest
    return hashes


def add_key(file: Path, name: str) -> str:
    """The new key, which is kept nowhere. Raises AccessError."""
    if not _NAME.fullmatch(name):
        raise AccessError("a name has letters, digits, dots, dashes and underscores, at most 64")
    hashes = read_keys(file) if file.exists() else {}
    if name in hashes:
        raise AccessError(f"there is a key named {name} already; remove it first")
    key = _PREFIX + secrets.token_urlsafe(32)
    _write(file, {**hashes, name: hash_of(key)})
    return key


def remove_key(file: Path, name: str) -> int:
    """How many keys are left. Raises AccessError. A file without keys refuses everybody."""
    hashes = read_keys(file) if file.exists() else {}
    if name not in hashes:
        raise AccessError(f"there is no key named {name}")
    del hashes[name]
    _write(file, hashes)
    return len(hashes)


def _write(file: Path, hashes: dict[str, str]) -> None:
    """In one move: a service that reads meanwhile sees the old keys or the new ones."""
    text = _HEADER + "".join(f"{name}:{digest}\n" for name, digest in hashes.items())
    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=file.parent, delete=False) as draft:  # its owner's alone
        draft.write(text)
    Path(draft.name).replace(file)


class KeyRing:
    """The keys in a file, as it is now. Once there were keys, their loss opens nothing."""

    def __init__(self, file: Path) -> None:
        """Raises AccessError when there is a file that cannot be read."""
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._hashes: dict[str, str] | None = None
        try:
            self._read()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise AccessError(f"{file}: {error.strerror}") from error

    @property
    def exists(self) -> bool:
        """Whether there is, or has been, a file of keys."""
        self._refresh()
        return self._hashes is not None

    def name_of(self, key: str) -> str | None:
        """Compares with every hash, each in constant time."""
        self._refresh()
        digest = hash_of(key)
        found = None
        for name, known in (self._hashes or {}).items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def _refresh(self) -> None:
        try:
            self._read()
        except FileNotFoundError:
            if self._hashes:
                logger.error("the file of API keys is gone: every request is refused")
                self._hashes, self._seen = {}, None
        except (OSError, AccessError) as error:
            if self._hashes is None:
                self._hashes = {}
            logger.error("the API keys cannot be read, those before stay: %s", error)

    def _read(self) -> None:
        status = self._file.stat()
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            self._seen = seen  # a broken file is complained about once
            self._hashes = read_keys(self._file)
