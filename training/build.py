"""All stages in order: from params.yaml, or a folder of one's own, to a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training import certify, crossval, data, embed, evaluate, export, prepare, train
from training.params import Params
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
    features = embed.run(params.embed, work, base)
    few = cross_validate and crossval.too_few(features)
    if few:
        crossval.run(params.train, params.evaluate, work, index)
    else:
        train.run(params.train, work)
    certify.run(params.certify, work, held_out=not few)
    if not few:
        evaluate.run(params.evaluate, work)
    checkpoint = export.run(params.export, work, out)
    return Verdict.of(checkpoint, work, index, features, cross_validated=few)


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
