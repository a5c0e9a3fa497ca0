"""`scratch recall`: what another model says of everything that the history holds.

Where the tower is the same, the kept embeddings go through the other head in one matrix product;
no image is read.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import typer

from shared.errors import CheckpointError, HistoryUnavailable, ImageError
from shared.history.store import Answered, HistoryStore
from shared.model.embedding import unpacked
from shared.model.inspector import Inspector, Verdict, open_inspector
from shared.model.runtime import Logits
from shared.model.shared_tower import SideHead
from shared.settings import Settings


@dataclass(frozen=True)
class Changed:
    """An answer that is now another."""

    task_id: str
    #: of the answer, ISO 8601
    at: str
    model: str
    pred: str
    prob_scratches: float
    now_pred: str
    now_prob_scratches: float

    @property
    def badness(self) -> tuple[bool, float]:
        """What was passed as clean and is scratched comes first, then by how sure that is."""
        passed = self.pred == "no_scratches"
        return passed, self.now_prob_scratches if passed else -self.now_prob_scratches


class Rescorer:
    """A model, without its tower where embeddings of that tower are there."""

    def __init__(self, inspector: Inspector, head: SideHead | None, *, images: bool) -> None:
        """`head` None: it has parts that are not in numpy. `images`: read those that are kept."""
        self._inspector = inspector
        self._head = head
        self._images = images
        #: of any precision: the answers came from features of that precision, too
        self._tower = inspector.embedding_space.rpartition("/")[0]
        self.rescored = self.left_out = 0

    def changed(self, answers: Iterable[list[Answered]], store: HistoryStore) -> Iterator[Changed]:
        """Of the answers of other models. Raises HistoryUnavailable."""
        title = self._inspector.manifest.title
        for chunk in answers:
            others = [answer for answer in chunk if answer.model != title]
            for answer, verdict in self._judged(others, store):
                self.rescored += 1
                if verdict.pred != answer.pred:
                    yield _changed(answer, verdict)

    def _judged(
        self, answers: list[Answered], store: HistoryStore
    ) -> Iterator[tuple[Answered, Verdict]]:
        known = [answer for answer in answers if self._knows(answer)]
        if known:
            logits = self._logits(known)
            yield from zip(known, map(self._inspector.postprocess, logits), strict=True)
        for answer in answers:
            if not self._knows(answer):
                verdict = self._looked(answer, store) if self._images else None
                if verdict:
                    yield answer, verdict
                else:
                    self.left_out += 1

    def _knows(self, answer: Answered) -> bool:
        space = (answer.embedding_space or "").rpartition("/")[0]
        return bool(self._head and answer.embedding and space == self._tower)

    def _logits(self, answers: list[Answered]) -> Logits:
        assert self._head  # noqa: S101
        return self._head(unpacked([answer.embedding or b"" for answer in answers]))

    def _looked(self, answer: Answered, store: HistoryStore) -> Verdict | None:
        image = store.image(answer)
        try:
            return self._inspector.inspect(image) if image else None
        except ImageError:
            return None


def _changed(answer: Answered, verdict: Verdict) -> Changed:
    return Changed(
        task_id=answer.task_id,
        at=datetime.fromtimestamp(answer.at, UTC).isoformat(timespec="seconds"),
        model=answer.model,
        pred=answer.pred,
        prob_scratches=round(answer.prob_scratches, 6),
        now_pred=verdict.pred,
        now_prob_scratches=round(verdict.prob_scratches, 6),
    )


def recall(folder: Path, settings: Settings, *, images: bool, as_json: bool) -> int:
    """Prints the changed answers, worst first. Returns the exit code."""
    if not settings.history_days:
        typer.echo("scratch: no history is kept: set SCRATCH_HISTORY_DAYS", err=True)
        return 2
    store = HistoryStore(settings)
    try:
        inspector = open_inspector(folder, runtime=settings.runtime, precision=settings.precision)
        rescorer = Rescorer(inspector, _head(inspector, folder), images=images)
        changed = rescorer.changed(store.chunks(), store)
        found = sorted(changed, key=lambda one: one.badness, reverse=True)
    except (CheckpointError, HistoryUnavailable) as error:
        typer.echo(f"scratch: {error.message}", err=True)
        return 2
    finally:
        store.close()
    _print(found, as_json=as_json)
    typer.echo(
        f"{inspector.manifest.title}: {rescorer.rescored} answers of other models judged again, "
        f"{len(found)} changed",
        err=True,
    )
    if rescorer.left_out:
        typer.echo(
            f"{rescorer.left_out} left out: "
            + (
                "their images are gone or cannot be read"
                if images
                else "no embedding of this tower is kept of them; --images judges their kept images"
            ),
            err=True,
        )
    return 0


def _head(inspector: Inspector, folder: Path) -> SideHead | None:
    try:
        return SideHead(folder / inspector.manifest.head)
    except CheckpointError:  # such as one with a layer norm, of an imported checkpoint
        return None


def _print(found: list[Changed], *, as_json: bool) -> None:
    """CSV, or one JSON object a line."""
    if as_json:
        for one in found:
            typer.echo(json.dumps(asdict(one)))
        return
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(field.name for field in fields(Changed))
    table.writerows(asdict(one).values() for one in found)
