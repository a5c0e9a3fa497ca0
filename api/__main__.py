"""`python -m api`: serves on `SCRATCH_HOST` and `PORT`; on SIGTERM it answers what has come in."""

from __future__ import annotations

import sys

import uvicorn

from api.identity import Gate
from api.server import uvicorn_options
from shared.errors import AccessError
from shared.settings import get_settings


def main() -> None:
    settings = get_settings()
    try:
        Gate(settings)
    except AccessError as error:
        sys.exit(f"api: {error.message}")
    uvicorn.run("api.main:create_app", factory=True, **uvicorn_options(settings))


if __name__ == "__main__":
    main()
