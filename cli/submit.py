"""`scratch submit`: sends files to a running service, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx

from cli.output import image_files, report, unreadable

_CONNECTIONS = 8
#: times a busy or unreachable service is asked again
_TRIES = 10
#: seconds; the service answers 202 before that and is then polled
_TIMEOUT_S = 90
_POLL_S = 20


def submit(paths: list[Path], url: str, *, api_key: str, as_json: bool) -> int:
    """Returns the exit code: 1 if a file was refused. `api_key` may be empty."""
    files = image_files(paths)
    return report(_answers(files, url, api_key), total=len(files), as_json=as_json)


def _answers(files: list[Path], url: str, api_key: str) -> Iterator[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    with (
        httpx.Client(base_url=url, timeout=_TIMEOUT_S, headers=headers) as client,
        ThreadPoolExecutor(_CONNECTIONS) as pool,
    ):
        pending = [pool.submit(_answer, client, file) for file in files]
        for done in as_completed(pending):
            yield done.result()


def _answer(client: httpx.Client, file: Path) -> dict[str, Any]:
    try:
        return {"file": str(file), **_inspect(client, file)}
    except OSError as error:
        return unreadable(file, error)
    except httpx.HTTPError as error:
        return {"file": str(file), "error": _error("service_unreachable", _where(client, error))}
    except (ValueError, KeyError, TypeError):  # a proxy's page, or another program on that port
        return {"file": str(file), "error": _error("not_the_service", _where(client, "no answer"))}


def _where(client: httpx.Client, problem: object) -> str:
    return f"{client.base_url}: {problem}"


def _inspect(client: httpx.Client, file: Path) -> dict[str, Any]:
    response = _send(client, file)
    while response.status_code == httpx.codes.ACCEPTED or _unfinished(response):
        status_url = response.json().get("status_url") or response.request.url.path
        response = client.get(status_url, params={"wait": _POLL_S})
    body = response.json()
    if response.is_error:
        return {"error": _error(body["code"], body.get("detail") or body["title"])}
    if "status" in body:  # a task's view
        return body["result"] or {"error": body["error"]}
    return dict(body)


def _send(client: httpx.Client, file: Path) -> httpx.Response:
    for left in reversed(range(_TRIES)):
        # The name stays here: it says nothing about the surface.
        response = client.post("/upload_image", files={"file": ("image", file.read_bytes())})
        if response.status_code not in (429, 503) or not left:
            break
        time.sleep(float(response.headers.get("retry-after", 1)))
    return response


def _unfinished(response: httpx.Response) -> bool:
    return response.is_success and response.json().get("status") in ("queued", "running")


def _error(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}
