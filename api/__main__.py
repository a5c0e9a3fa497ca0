"""`python -m api`: serves on `SCRATCH_HOST` and `PORT`; on SIGTERM it answers what has come in."""

from __future__ import annotations

import uvicorn

from shared.settings import get_settings

#: seconds for requests under way when the process is told to stop; their tasks go on regardless
_GRACE_S = 25


def main() -> None:
    settings = get_settings()
    uvicorn.run(
        "api.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_S,
    )


if __name__ == "__main__":
    main()
