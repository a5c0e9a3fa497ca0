"""The links in an alert mail."""

from __future__ import annotations

from typing import Any

from redis import Redis

from shared.links import LINKS_KEY, Action, Link, Signer, new_secret

_WORDS: dict[Action, str] = {
    "scratches": "scratched",
    "no_scratches": "clean",
    "retake": "take it again",
}


class MailLinks:
    def __init__(self, redis: Redis, public_url: str) -> None:
        self._redis = redis
        self._base = public_url.rstrip("/")

    def __call__(self, task_id: str, prob_scratches: float) -> list[tuple[str, str]]:
        """What one may say of a photo, each with its link. Raises RedisError."""
        signer = self._signer()
        links = [
            Link(task_id=task_id, action=action, prob_scratches=prob_scratches) for action in _WORDS
        ]
        return [(_WORDS[link.action], f"{self._base}/say/{signer.token(link)}") for link in links]

    def _signer(self) -> Signer:
        """Asked for each time: who deletes the secret ends the links that are out."""
        self._redis.set(LINKS_KEY, new_secret(), nx=True)
        secret: Any = self._redis.get(LINKS_KEY)
        return Signer(secret)
