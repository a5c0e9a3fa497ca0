"""All stages in order: from params.yaml, or a folder of one's own, to a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training import certify, crossval, data, evaluate, export, prepare, train
from training.params import Params
from training.ridge import Photos, choose
from training.sizes import adopt, compared, embed_all
from training.verdict import Verdict
from training.workspace import Workspace, stage_parser, start

#: its tower, where it is the one asked for, saves making a graph
BUNDLED = Path("ckpts/scratch-lite")


def build(
    params: Params,
    work: Workspace,
    out: Path,
    source: Path | None = None,
    base: Path | None = None,
    *,
    cross_validate: bool = False,
) -> Verdict:
    """The new checkpoint in `out`, and how good it is. Raises DataError or CheckpointError.

    With `cross_validate`, a set too small for a test split is learned from whole, and the procedure
    is judged by cross-validation: its test split is then no fair test of the checkpoint.
    """
    if source is None:
        data.run(params.data, work)
    index = prepare.run(params.prepare, work, source)
    looks = embed_all(params.embed, params.build.finer if source else (), work, base, index)
    few = cross_validate and crossval.too_few(looks[0].table)
    learned_from = train.learned_from(looks[0].table, params.train)
    splits = ("train", "validation", "test") if few else learned_from
    candidates = [Photos.of(look.table, *splits) for look in looks]
    best, learned = choose(candidates, params.train.ridge, params.train.seed)
    features = adopt(looks, best)
    if few:
        crossval.run(params.train, params.evaluate, work, candidates, learned[best])
    else:
        train.run(params.train, work, learned[best])
    certify.run(params.certify, work)
    if not few:
        evaluate.run(params.evaluate, work)
    checkpoint = export.run(params.export, work, out)
    views = compared(looks, best, learned, candidates[0].labels)
    return Verdict.of(checkpoint, work, index, features, cross_validated=few, compared=views)


def named(params: Params, name: str) -> Params:
    """The same, for a checkpoint of another name. Raises ValueError for an impossible one."""
    renamed = params.export.model_dump() | {"name": name}
    return Params.model_validate(params.model_dump() | {"export": renamed})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("ckpts"))
    options, params, work = start(parser, arguments)
    build(params, work, options.out)


if __name__ == "__main__":
    main()
