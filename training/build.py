"""All stages in order: from params.yaml, or a folder of one's own, to a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training import data, embed, evaluate, export, train
from training.params import Params
from training.workspace import Workspace, stage_parser, start


def build(params: Params, work: Workspace, out: Path, source: Path | None = None) -> Path:
    """The folder of the new checkpoint. Raises ValueError or CheckpointError."""
    data.run(params.data, work, source)
    embed.run(params.embed, work)
    train.run(params.train, work)
    evaluate.run(params.evaluate, work)
    return export.run(params.export, work, out)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--source", type=Path, help="folder with scratches/ and no_scratches/")
    parser.add_argument("--out", type=Path, default=Path("ckpts"))
    parser.add_argument("--name", help="of the checkpoint, instead of the one in params.yaml")
    options, params, work = start(parser, arguments)
    if options.name:
        params = params.model_copy(
            update={"export": params.export.model_copy(update={"name": options.name})}
        )
    build(params, work, options.out, options.source)


if __name__ == "__main__":
    main()
