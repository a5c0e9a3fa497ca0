from __future__ import annotations

import configparser
import stat
from pathlib import Path

from redis import Redis

from cli.stack import programs, write_redis_config, write_supervisor_config
from shared.settings import Settings


def settings() -> Settings:
    return Settings(_env_file=None)


def test_a_redis_of_ours_starts_first_and_stops_last(tmp_path: Path) -> None:
    found = programs(settings(), tmp_path / "redis.conf")

    assert min(found, key=lambda program: program.order).name == "redis"
    assert [p.name for p in programs(settings(), None)] == ["worker", "api", "flower"]


def test_redis_keeps_its_data_and_asks_for_a_password(tmp_path: Path) -> None:
    config, url = write_redis_config(tmp_path, max_bytes=2**28)

    words = dict(line.split(" ", 1) for line in config.read_text().splitlines())
    assert words["appendonly"] == "yes"
    assert words["bind"] == "127.0.0.1"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    connection = Redis.from_url(url).connection_pool.connection_kwargs
    assert connection["password"] == words["requirepass"]
    assert connection["port"] == int(words["port"])


def test_every_start_has_another_password(tmp_path: Path) -> None:
    urls = [write_redis_config(tmp_path, max_bytes=2**28)[1] for _ in range(2)]
    assert urls[0] != urls[1]


def test_a_percent_sign_in_a_path_survives_supervisord(tmp_path: Path) -> None:
    folder = tmp_path / "100%s done"
    folder.mkdir()

    config = write_supervisor_config(folder, programs(settings(), folder / "redis.conf"))

    parser = configparser.ConfigParser()
    parser.read(config)
    assert parser["program:redis"]["command"].endswith(f'"{folder}/redis.conf"')
    assert (folder / "logs").is_dir()
