"""How long a client wants to wait: `?wait=`, or `Prefer` of RFC 7240."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from shared.settings import Settings

_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Wait:
    seconds: float
    #: the header `Preference-Applied`, where a preference decided
    applied: str | None = None


def wait_of_query(text: str, settings: Settings) -> Wait:
    """`true`, `false` or seconds, at most `wait_max_s`. Raises ValueError."""
    word = _WORDS.get(text.strip().lower())
    if word is not None:
        return Wait(seconds=settings.wait_s if word else 0)
    seconds = float(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(text)
    return Wait(seconds=min(seconds, settings.wait_max_s))


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
