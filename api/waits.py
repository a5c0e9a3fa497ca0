"""How long a client wants to wait: `?wait=`, or `Prefer` of RFC 7240."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError

from shared.settings import Settings

SAYS = "`true`, `false`, or the seconds to wait for the result"
#: for the description alone
WAIT_PATTERN = {"pattern": r"^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[0-9]{1,9}(\.[0-9]{1,9})?)$"}
_WORDS = {"true": True, "false": False}
#: `float` takes far more: `1_0`, `1e3`, other scripts' digits
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, kw_only=True)
class Wait:
    seconds: float
    #: the header `Preference-Applied`, where a preference decided
    applied: str | None = None


def wait_of_query(text: str, settings: Settings) -> Wait:
    """`true`, `false` or seconds, at most `wait_max_s`. Raises ValueError."""
    word = _WORDS.get(text.lower())
    if word is not None:
        return Wait(seconds=settings.wait_s if word else 0)
    if not _SECONDS.fullmatch(text):
        raise ValueError(text)
    return Wait(seconds=min(float(text), settings.wait_max_s))


def query_wait(text: str, settings: Settings) -> Wait:
    """As `wait_of_query`. Raises RequestValidationError."""
    try:
        return wait_of_query(text, settings)
    except ValueError:
        raise _invalid(f"must be {SAYS}") from None


def no_wait(text: str, settings: Settings) -> None:
    """Raises RequestValidationError unless `text` says not to wait."""
    if query_wait(text, settings).seconds:
        raise _invalid("a batch is never waited for; ask each /tasks/{id}?wait=SECONDS")


def _invalid(text: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", "wait"), "msg": text, "type": "value_error"}])


def wait_of_prefer(headers: Iterable[str], settings: Settings) -> Wait:
    """`respond-async`, `wait=10` or both; preferences that we do not know are ignored."""
    preferences: dict[str, str] = {}
    for preference in ",".join(headers).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        preferences.setdefault(name.strip().lower(), value.strip().strip('"'))
    applied = []
    seconds = settings.wait_s
    if "respond-async" in preferences:
        applied.append("respond-async")
        seconds = 0
    asked = preferences.get("wait", "")
    if asked.isascii() and asked.isdecimal() and len(asked) < 10:
        applied.append(f"wait={asked}")
        seconds = min(float(asked), settings.wait_max_s)
    return Wait(seconds=seconds, applied=", ".join(applied) or None)
