"""What an alert mail says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage

#: how many task ids a mail names for each error, and how many photos to look at
_EXAMPLES, _PHOTOS = 5, 10
#: characters of an error's text that a mail repeats
_TEXT_LIMIT = 300

#: of a task and its probability of scratches: what one may say, and the link that says so
LinksOf = Callable[[str, float], list[tuple[str, str]]]


@dataclass
class Group:
    """Equal errors since the last mail."""

    message: str
    first_at: float
    count: int = 0
    task_ids: list[str] = field(default_factory=list)
    #: of no single inspection
    warning: bool = False

    def add(self, task_id: str) -> None:
        self.count += 1
        if len(self.task_ids) < _EXAMPLES:
            self.task_ids.append(task_id)


@dataclass(frozen=True)
class Doubt:
    task_id: str
    prob_scratches: float
    why: str


@dataclass
class Doubts:
    """Answers that a person should look at, since the last mail."""

    count: int = 0
    photos: list[Doubt] = field(default_factory=list)

    def add(self, doubt: Doubt) -> None:
        self.count += 1
        if len(self.photos) < _PHOTOS:
            self.photos.append(doubt)

    def put_back(self, earlier: Doubts) -> None:
        self.count += earlier.count
        self.photos = (earlier.photos + self.photos)[:_PHOTOS]


def digest(
    groups: Mapping[str, Group], doubts: Doubts, links_of: LinksOf, *, sender: str, to: str
) -> EmailMessage:
    """Raises RedisError where links have to be signed and the secret cannot be fetched."""
    parts = [_failures(code, group) for code, group in groups.items()]
    if doubts.count:
        parts.append(_photos(doubts, links_of))
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, to
    mail["Subject"] = f"Scratch detector: {_subject(groups, doubts)}"
    mail.set_content("\n\n".join(parts))
    return mail


def _subject(groups: Mapping[str, Group], doubts: Doubts) -> str:
    failed = sum(group.count for group in groups.values() if not group.warning)
    said = [f"{failed} failed inspection{'s' if failed > 1 else ''}"] if failed else []
    if doubts.count:
        said.append(f"{doubts.count} photo{'s' if doubts.count > 1 else ''} to look at")
    return ", ".join(said + [code for code, group in groups.items() if group.warning])


def _failures(code: str, group: Group) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(group.first_at))
    text = "".join(c if c.isprintable() else "?" for c in group.message[:_TEXT_LIMIT])
    ids = "\n".join(f"  task {task_id}" for task_id in group.task_ids)
    return f"{code}: {group.count} since {since}\n  {text}\n{ids}"


def _photos(doubts: Doubts, links_of: LinksOf) -> str:
    lines = ["To look at: the service leaves these to a person."]
    for photo in doubts.photos:
        lines.append(f"\n  task {photo.task_id}, scratches {photo.prob_scratches:.0%}: {photo.why}")
        links = links_of(photo.task_id, photo.prob_scratches)
        lines += [f"    {word}: {url}" for word, url in links]
    more = doubts.count - len(doubts.photos)
    return "\n".join(lines + ([f"\n  and {more} more"] if more else []))
