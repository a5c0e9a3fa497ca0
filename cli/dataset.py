"""`scratch dataset`: what people have labelled becomes a folder to train from; and what is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import typer
from redis.exceptions import RedisError

from cli.models import Refused, open_fleet
from shared.contract import Label
from shared.history.informative import most_informative
from shared.history.retention import Retention, prune
from shared.history.store import Answered, HistoryStore
from shared.images import kind_of
from shared.settings import Settings

#: in an exported folder: what we have put there, by hash; hidden files are no photos to training
_INDEX = ".exported.json"
_LABELS: tuple[Label, ...] = get_args(Label)


@contextmanager
def open_history(settings: Settings) -> Iterator[HistoryStore]:
    store = HistoryStore(settings)
    try:
        yield store
    finally:
        store.close()


def export(folder: Path, settings: Settings) -> int:
    """Makes `folder` hold each labelled photo once, by its last label. Returns the exit code.

    What is there already is not read again; what is no longer labelled, or forgotten, goes. Files
    that others have put there stay.
    """
    index = _Index(folder)
    with open_history(settings) as store:
        missing = sum(not index.put(store, *each) for each in store.labelled_images())
    removed = index.close()
    counts = {
        label: len(list((folder / label).glob("*"))) for label in ("scratches", "no_scratches")
    }
    found = ", ".join(f"{count} {label}" for label, count in counts.items())
    typer.echo(f"{folder}: {found}; {index.added} new, {index.moved} relabelled, {removed} removed")
    if missing:
        typer.echo(f"scratch: of {missing} labelled photos the files are gone", err=True)
    return 0


class _Index:
    """The photos in an exported folder, as we left them and as they should be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / _INDEX
        self._before: dict[str, str] = (
            json.loads(self._file.read_text()) if self._file.exists() else {}
        )
        self._now: dict[str, str] = {}
        self.added = self.moved = 0
        for label in _LABELS:
            (folder / label).mkdir(parents=True, exist_ok=True)

    def count(self, label: Label) -> int:
        return sum(name.startswith(f"{label}/") for name in self._now.values())

    def put(self, store: HistoryStore, answer: Answered, label: Label) -> bool:
        """False when the photo's file is gone."""
        before = self._before.get(answer.sha256)
        if before and (self._folder / before).exists():
            name = f"{label}/{Path(before).name}"
            if name != before:
                (self._folder / before).rename(self._folder / name)
                self.moved += 1
        else:
            image = store.image(answer)
            if image is None:
                return False
            name = f"{label}/{answer.sha256}.{kind_of(image) or 'bin'}"
            _write(self._folder / name, image)
            self.added += 1
        self._now[answer.sha256] = name
        return True

    def close(self) -> int:
        """Removes what does not belong here any more; how many."""
        gone = [name for sha256, name in self._before.items() if sha256 not in self._now]
        for name in gone:
            (self._folder / name).unlink(missing_ok=True)
        _write(self._file, json.dumps(self._now, indent=1).encode())
        return len(gone)


def _write(path: Path, data: bytes) -> None:
    """In one move: who is interrupted leaves no half photo to train from."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(data)
    draft.replace(path)


def queue(settings: Settings, *, count: int, as_json: bool) -> int:
    """The unlabelled photos that would teach a model the most, the best first."""
    with open_history(settings) as store:
        found = most_informative(store, count)
    for answer in found:
        fields = {
            "task_id": answer.task_id,
            "prob_scratches": answer.prob_scratches,
            "pred": answer.pred,
            "model": answer.model,
            "at": datetime.fromtimestamp(answer.at, UTC).isoformat(timespec="seconds"),
        }
        typer.echo(
            json.dumps(fields)
            if as_json
            else f"{answer.task_id}  {answer.prob_scratches:.3f}  {answer.pred:<12}  {fields['at']}"
        )
    if not found:
        typer.echo("no unlabelled photo is kept", err=True)
    return 0


def forget(task_id: str, settings: Settings) -> int:
    """Removes a task's photo, its copies, and all that was said of them."""
    with open_history(settings) as store:
        copies, words = store.forget(task_id)
    try:
        known = open_fleet(settings).worklist.forget([task_id, *copies])
    except RedisError as error:
        typer.echo(f"scratch: {error}: Redis keeps the answer until it expires", err=True)
        return 1
    if not (copies or words or known):
        raise Refused(f"no task {task_id} is known")
    typer.echo(f"forgotten: {len(copies)} kept photos, {words} words about them")
    return 0


def prune_now(settings: Settings) -> int:
    """What the workers do every minute; where the history is off, all that is not labelled goes."""
    with open_history(settings) as store:
        removed = prune(store, Retention.of(settings), now=time.time())
    typer.echo(f"removed {removed} photos")
    return 0
