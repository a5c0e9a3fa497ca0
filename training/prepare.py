"""Stage `prepare`: which photos can be used, once each, and what each is for.

Photos that cannot be read and exact copies are dropped, and said. Near-duplicates stay on one side
of the split, so that no test photo is one that was learned from.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.model_selection import train_test_split

from shared.errors import ImageError
from shared.model import decode as decoder
from shared.model.decode import decode
from shared.model.labels import LABELS, SCRATCHES
from shared.model.preprocess import ImageLimits
from training import neighbours
from training.data import check_folder
from training.dataset import DataError, Dropped, Index, IndexedImage, Split
from training.params import PrepareParams
from training.rowcache import RowCache
from training.workspace import Workspace, stage_parser, start

#: different photos of a class; fewer say nothing about a surface
FEWEST = 8
#: of a class, where some are near-duplicates: enough for every part of a split
_FEWEST_GROUPS = 5
_LIMITS = ImageLimits()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    path: Path
    #: below the folder that is prepared
    name: str
    label: str
    sha256: str


def make_index(root: Path, params: PrepareParams, cache: RowCache) -> Index:
    """Splits are stratified by class, seeded, and independent of names.

    Raises DataError when a class is missing or too small, or one content has both labels.
    """
    check_folder(root)
    dropped: list[Dropped] = []
    files, twins = _unique(_files(root), dropped, root)
    hashes = _hashes(files, dropped, cache)
    for sha256, names in twins.items():
        if sha256 in hashes:
            raise DataError(f"{root}: {names} are one photo with both labels")
    usable = sorted((f for f in files if f.sha256 in hashes), key=lambda f: f.sha256)
    for label in LABELS:
        _check_count(root / label, [f for f in usable if f.label == label], dropped)
    groups = neighbours.group(np.stack([hashes[f.sha256] for f in usable]), params.near)
    labels = np.array([f.label for f in usable])
    for label in LABELS:
        if len(set(groups[labels == label])) < _FEWEST_GROUPS:
            raise DataError(f"{root / label}: nearly all photos there show the same scene")
    splits = _splits(groups, labels, params)
    images = [
        IndexedImage.model_validate(
            {"file": f.name, "label": f.label, "sha256": f.sha256, "split": split, "group": group}
        )
        for f, split, group in zip(usable, splits, groups.tolist(), strict=True)
    ]
    return Index(
        root=root,
        images=tuple(sorted(images, key=lambda i: i.file)),
        dropped=tuple(sorted(dropped, key=lambda d: d.file)),
    )


def _files(root: Path) -> list[tuple[Path, str]]:
    """Every file of both classes, whatever its name; hidden ones are the system's, not photos."""
    return [
        (path, label)
        for label in LABELS
        for path in sorted((root / label).rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    ]


def _unique(
    paths: Iterable[tuple[Path, str]], dropped: list[Dropped], root: Path
) -> tuple[list[_File], dict[str, str]]:
    """Each content once; and contents with both labels, by name."""
    first: dict[str, _File] = {}
    twins: dict[str, str] = {}
    for path, label in paths:
        name = path.relative_to(root).as_posix()
        try:
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            reason = f"The file cannot be read: {error.strerror}."
            dropped.append(Dropped(file=name, reason=reason, kind="broken"))
            continue
        known = first.setdefault(sha256, _File(path, name, label, sha256))
        if known.label != label:
            twins[sha256] = f"{known.name} and {name}"
        elif known.name != name:
            reason = f"The same photo as {known.name}."
            dropped.append(Dropped(file=name, reason=reason, kind="duplicate"))
    return list(first.values()), twins


def _hashes(
    files: list[_File], dropped: list[Dropped], cache: RowCache
) -> dict[str, NDArray[np.uint8]]:
    """The perceptual hash of each file that can be decoded, by content; computed once for ever."""
    found = cache.load(file.sha256 for file in files)
    new = [file for file in files if file.sha256 not in found]
    fresh = {}
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(_hash, new)
        for file, result in zip(
            new, track(results, "reading photos", len(new), transient=True), strict=True
        ):
            if isinstance(result, ImageError):
                dropped.append(Dropped(file=file.name, reason=result.message, kind="broken"))
            else:
                fresh[file.sha256] = result
    cache.add(fresh)
    return found | fresh


def _hash(file: _File) -> NDArray[np.uint8] | ImageError:
    try:
        pixels = decode(
            file.path.read_bytes(),
            min_side=neighbours.LEAST_PIXELS,
            max_pixels=_LIMITS.max_pixels,
            max_side=_LIMITS.max_side,
        )
    except ImageError as error:
        return error
    return neighbours.perceptual_hash(pixels)


def _check_count(folder: Path, files: list[_File], dropped: list[Dropped]) -> None:
    if len(files) >= FEWEST:
        return
    lost = [d for d in dropped if d.file.startswith(f"{folder.name}/")]
    because = (
        f"; {len(lost)} were dropped, such as {lost[0].file}: {lost[0].reason}" if lost else ""
    )
    raise DataError(f"{folder} has {len(files)} usable photos, needs {FEWEST} or more{because}")


def _splits(
    groups: NDArray[np.int32], labels: NDArray[np.str_], params: PrepareParams
) -> list[Split]:
    """By group; a group of both classes counts as scratched."""
    units = np.unique(groups)
    scratched = set(groups[labels == LABELS[SCRATCHES]].tolist())
    classes = np.array([unit in scratched for unit in units.tolist()])
    rest, test = train_test_split(
        np.arange(len(units)), test_size=params.test, stratify=classes, random_state=params.seed
    )
    _, validation = train_test_split(
        rest,
        test_size=params.validation / (1 - params.test),
        stratify=classes[rest],
        random_state=params.seed,
    )
    part: dict[int, Split] = dict.fromkeys(units[test].tolist(), "test")
    part |= dict.fromkeys(units[validation].tolist(), "validation")
    return [part.get(group, "train") for group in groups.tolist()]


def summary(index: Index) -> dict[str, int]:
    """Counts for `dvc metrics`."""
    kinds = Counter(dropped.kind for dropped in index.dropped)
    sizes = Counter(image.group for image in index.images)
    return {
        "images": len(index.images),
        **Counter(image.label for image in index.images),
        "broken": kinds["broken"],
        "duplicates": kinds["duplicate"],
        "near_duplicates": sum(size - 1 for size in sizes.values()),
        "largest_group": max(sizes.values()),
    }


def run(params: PrepareParams, work: Workspace, root: Path | None = None) -> Index:
    """`root` is a folder of one's own; without it, what the stage `data` made."""
    code = hashlib.sha256(Path(decoder.__file__).read_bytes()).hexdigest()[:16]
    index = make_index(root or work.images, params, RowCache(work.cache / "hashes" / code))
    work.index.write_text(index.model_dump_json(indent=1))
    work.prepared.write_text(json.dumps(summary(index), indent=1) + "\n")
    for dropped in index.dropped:
        _log.info("%s is left out: %s", dropped.file, dropped.reason)
    _log.info("%s: %s", index.root, dict(Counter(f"{i.label} {i.split}" for i in index.images)))
    return index


def main(arguments: Sequence[str] | None = None) -> None:
    _, params, work = start(stage_parser(__doc__), arguments)
    run(params.prepare, work)


if __name__ == "__main__":
    main()
