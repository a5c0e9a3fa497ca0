"""Words said by links in mails. Knows nothing of HTTP."""

from __future__ import annotations

import contextlib

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.feedback import FeedbackService
from shared.errors import LinkInvalid, LinkUsed
from shared.links import LINK_S, LINKS_KEY, Link, Signer, used_key

#: seconds after which a word that was not recorded, as its process died, may be said again
_SAYING_S = 60


class LinkService:
    """Every method may raise LinkError, RedisError and HistoryUnavailable."""

    def __init__(self, redis: Redis, feedback: FeedbackService) -> None:
        self._redis = redis
        self._feedback = feedback

    async def open(self, token: str) -> Link:
        """What the link says. Changes nothing: mail scanners open links, too."""
        link = await self._read(token)
        if await self._redis.exists(used_key(link)):
            raise LinkUsed
        return link

    async def image(self, token: str) -> bytes:
        """The photo that the link is about. Raises ImageNotKept."""
        link = await self.open(token)
        return await self._feedback.image(link.task_id)

    async def say(self, token: str) -> Link:
        """Records the word, once. Raises TaskNotFound."""
        link = await self._read(token)
        if not await self._redis.set(used_key(link), "saying", nx=True, ex=_SAYING_S):
            raise LinkUsed
        try:
            await self._record(link)
        except BaseException:
            with contextlib.suppress(RedisError, OSError):
                await self._redis.delete(used_key(link))
            raise
        await self._redis.set(used_key(link), "said", ex=LINK_S)
        return link

    async def _record(self, link: Link) -> None:
        """A photo that has to be taken again teaches nothing: no label of it counts any more."""
        if link.action == "retake":
            await self._feedback.say(link.task_id, None, note="take it again", source="mail")
        else:
            await self._feedback.say(link.task_id, link.action, source="mail")

    async def _read(self, token: str) -> Link:
        secret = await self._redis.get(LINKS_KEY)
        if not secret:
            raise LinkInvalid
        return Signer(secret).read(token)
