"""Images and words of people about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "scratch_images",
        sa.Column("task_id", sa.String(32), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("model", sa.String(96), nullable=False),
        sa.Column("pred", sa.String(16), nullable=False),
        sa.Column("prob_scratches", sa.Double, nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("embedding", sa.LargeBinary),
        sa.Column("embedding_space", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("file_key", sa.Text, nullable=False),
    )
    op.create_index("ix_scratch_images_sha256", "scratch_images", ["sha256"])
    op.create_index("ix_scratch_images_at", "scratch_images", ["at"])
    op.create_table(
        "scratch_feedback",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("task_id", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("label", sa.String(16)),
        sa.Column("note", sa.Text),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("key_name", sa.String(64), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("model", sa.String(96)),
        sa.Column("pred", sa.String(16)),
        sa.Column("prob_scratches", sa.Double),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_scratch_feedback_task_id", "scratch_feedback", ["task_id"])
    op.create_index("ix_scratch_feedback_sha256", "scratch_feedback", ["sha256"])
