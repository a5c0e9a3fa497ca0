"""The history: answered images with their answers, and what people said of them since.

Synchronous: the api calls it in threads. Every method may raise HistoryUnavailable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from shared.contract import Label, Outcome
from shared.errors import HistoryUnavailable
from shared.history.database import Database
from shared.history.files import ImageFiles, file_key
from shared.history.schema import feedback, images
from shared.settings import Settings

#: of one SQL statement, where ids are listed
_AT_ONCE = 500
#: answers with their embeddings, some 3 KB each
_CHUNK = 2000


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An image with its answer; the columns of the same names say what is what."""

    task_id: str
    sha256: str
    at: float
    client: str
    model: str
    pred: Label
    prob_scratches: float
    threshold: float
    size: int
    verdict: str | None = None
    embedding: bytes | None = None
    embedding_space: str | None = None
    #: given when it is kept
    file_key: str = ""

    @classmethod
    def of_row(cls, row: Any) -> Self:
        return cls(**{field.name: getattr(row, field.name) for field in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a person said of a task's image; the columns of the same names say what is what."""

    task_id: str
    #: None takes back what was said before
    label: Label | None
    at: float
    note: str | None = None
    key_name: str = ""
    source: str = "api"
    sha256: str | None = None
    model: str | None = None
    pred: Label | None = None
    prob_scratches: float | None = None

    @staticmethod
    def about(answer: Answered | Outcome) -> dict[str, Any]:
        """The fields that say which answer a word is about."""
        said = answer if isinstance(answer, Answered) else answer.prediction
        return {
            "sha256": answer.sha256,
            "model": answer.model,
            "pred": said and said.pred,
            "prob_scratches": said and said.prob_scratches,
        }


def last_word() -> ColumnElement[bool]:
    """Of a row of `feedback`: whether it is the last about its photo, or else about its task."""
    later = feedback.alias("later")
    return ~exists(
        select(later.c.id).where(
            later.c.id > feedback.c.id,
            or_(later.c.sha256 == feedback.c.sha256, later.c.task_id == feedback.c.task_id),
        )
    )


def labelled() -> ColumnElement[bool]:
    """Of a row of `images`: whether the last word about its photo is a label."""
    return exists(
        select(feedback.c.id).where(
            feedback.c.sha256 == images.c.sha256, feedback.c.label.is_not(None), last_word()
        )
    )


class HistoryStore:
    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings)
        self.files = ImageFiles(settings)

    def close(self) -> None:
        self.database.close()

    def keep(self, answered: Sequence[tuple[Answered, bytes]]) -> int:
        """Writes answers and images; how many. From the first image that cannot be written on, none
        is kept: a store that is away would take its time to say so of each.

        The row comes first: what is there without its file is removed with its time, and no file
        is ever there without a row.
        """
        rows = [
            vars(answer) | {"file_key": file_key(answer.task_id, answer.at)}
            for answer, _ in answered
        ]
        with self.database.begin() as connection:
            connection.execute(_insert_new(connection), rows)
        written = 0
        with suppress(HistoryUnavailable):
            for row, (_, image) in zip(rows, answered, strict=True):
                self.files.write(row["file_key"], image)
                written += 1
        self._delete_rows([row["task_id"] for row in rows[written:]])
        return written

    def find(self, task_id: str) -> Answered | None:
        with self.database.begin() as connection:
            row = connection.execute(select(images).where(images.c.task_id == task_id)).first()
        return Answered.of_row(row) if row else None

    def chunks(self) -> Iterator[list[Answered]]:
        """All that is kept, oldest first, so many at once as memory easily holds."""
        last = (-1.0, "")
        while True:
            later = tuple_(images.c.at, images.c.task_id) > last
            order = (images.c.at, images.c.task_id)
            wanted = select(images).where(later).order_by(*order).limit(_CHUNK)
            with self.database.begin() as connection:
                chunk = [Answered.of_row(row) for row in connection.execute(wanted)]
            if not chunk:
                return
            yield chunk
            last = (chunk[-1].at, chunk[-1].task_id)

    def image(self, answer: Answered) -> bytes | None:
        """None when it is gone."""
        return self.files.read(answer.file_key)

    def say(self, word: Word) -> None:
        """Adds a word; the last one about a photo counts."""
        with self.database.begin() as connection:
            connection.execute(insert(feedback), vars(word))

    def words(self, task_id: str) -> list[Word]:
        """All that was said of a task, in its order."""
        wanted = select(feedback).where(feedback.c.task_id == task_id).order_by(feedback.c.id)
        with self.database.begin() as connection:
            rows = connection.execute(wanted).all()
        names = [field.name for field in fields(Word)]
        return [Word(**{name: getattr(row, name) for name in names}) for row in rows]

    def count_unlabelled(self) -> int:
        """Photos that nobody has labelled."""
        count = select(func.count(images.c.sha256.distinct())).where(~labelled())
        with self.database.begin() as connection:
            return int(connection.execute(count).scalar_one())

    def labelled_images(self) -> list[tuple[Answered, Label]]:
        """One task of each labelled photo that is kept, the first, and the last word about it."""
        wanted = (
            select(images, feedback.c.label)
            .join(feedback, feedback.c.sha256 == images.c.sha256)
            .where(feedback.c.label.is_not(None), last_word())
            .order_by(images.c.at, images.c.task_id)
        )
        found: dict[str, tuple[Answered, Label]] = {}
        with self.database.begin() as connection:
            for row in connection.execute(wanted):
                found.setdefault(row.sha256, (Answered.of_row(row), row.label))
        return list(found.values())

    def forget(self, task_id: str) -> tuple[list[str], int]:
        """Removes a task's photo with all its copies, and all words about them.

        The ids of the tasks whose photos were kept, and the number of words.
        """
        with self.database.begin() as connection:
            kept = select(images.c.sha256).where(images.c.task_id == task_id)
            heard = select(feedback.c.sha256).where(feedback.c.task_id == task_id)
            same = images.c.sha256.in_(kept.union(heard))
            copies = [
                Answered.of_row(row) for row in connection.execute(select(images).where(same))
            ]
        self.remove(copies)
        tasks = [answer.task_id for answer in copies]
        words = delete(feedback).where(
            or_(
                feedback.c.task_id.in_([*tasks, task_id]),
                feedback.c.sha256.in_({answer.sha256 for answer in copies}),
            )
        )
        with self.database.begin() as connection:
            return tasks, connection.execute(words).rowcount

    def remove(self, answers: Iterable[Answered]) -> None:
        """Images and answers, not the words about them."""
        gone = []
        for answer in answers:
            self.files.delete(answer.file_key)
            gone.append(answer.task_id)
        self._delete_rows(gone)

    def _delete_rows(self, task_ids: list[str]) -> None:
        if not task_ids:
            return
        with self.database.begin() as connection:
            for start in range(0, len(task_ids), _AT_ONCE):
                some = task_ids[start : start + _AT_ONCE]
                connection.execute(delete(images).where(images.c.task_id.in_(some)))


def _insert_new(connection: Connection) -> Any:
    """A task that ran twice is written once."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(images).on_conflict_do_nothing()
