"""A Postgres server of a test's own: Debian's programs, a socket in a folder, and no port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_S = 60


def programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        missing = "Postgres is not installed here (apt-get install postgresql)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found[-1].parent


@contextmanager
def running() -> Iterator[str]:
    """The URL of an empty database. Postgres refuses to run as root: then as its own user."""
    user = "postgres" if os.getuid() == 0 else None
    # Not pytest's folder: that is its owner's alone, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="scratch-postgres-"))
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs() / program), *arguments]
        subprocess.run(command, user=user, cwd=folder, check=True, timeout=PATIENCE_S,
                       capture_output=program == "initdb")  # fmt: skip

    data = str(folder / "data")
    try:
        run("initdb", "--auth=trust", "--username=scratch", "--no-sync", "--pgdata", data)
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", f"{folder}/log", "-o", options)
        try:
            yield f"postgresql://scratch@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "--mode=immediate", "--pgdata", data)
    finally:
        shutil.rmtree(folder)
