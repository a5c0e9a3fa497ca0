"""The tables of the history; every change of them is a migration beside this file.

Times are unix seconds. Nothing refers to another table: words of people stay when images go.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

#: one row an answered image, written by the worker that answered
images = Table(
    "scratch_images",
    metadata,
    Column("task_id", String(32), primary_key=True),
    #: of the uploaded bytes, hex: one photo that was sent twice has two rows
    Column("sha256", String(64), nullable=False, index=True),
    #: when it was answered
    Column("at", Double, nullable=False, index=True),
    #: who asked, see InspectJob
    Column("client", String(64), nullable=False),
    #: title of the checkpoint
    Column("model", String(96), nullable=False),
    Column("pred", String(16), nullable=False),
    Column("prob_scratches", Double, nullable=False),
    #: of the checkpoint: from it on, the label is `scratches`
    Column("threshold", Double, nullable=False),
    #: what the service said beyond the label
    Column("verdict", Text),
    #: float16, little-endian; comparable within one `embedding_space` alone
    Column("embedding", LargeBinary),
    #: which tower and features made it
    Column("embedding_space", Text),
    #: bytes of the image
    Column("size", BigInteger, nullable=False),
    #: of the image in the file store
    Column("file_key", Text, nullable=False),
)

#: one row a word of a person; the last one about a photo counts, and none is changed
feedback = Table(
    "scratch_feedback",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("task_id", String(32), nullable=False),
    #: None where neither Redis nor the history knew the task any more
    Column("sha256", String(64)),
    #: None takes back what was said before
    Column("label", String(16)),
    Column("note", Text),
    Column("at", Double, nullable=False),
    #: of the API key; empty where none was asked for
    Column("key_name", String(64), nullable=False),
    #: by which way it came: `api`, `cli`, …
    Column("source", String(16), nullable=False),
    #: the answer that it is about
    Column("model", String(96)),
    Column("pred", String(16)),
    Column("prob_scratches", Double),
    Index("ix_scratch_feedback_task_id", "task_id"),
    Index("ix_scratch_feedback_sha256", "sha256"),
    sqlite_autoincrement=True,  # ids are the order of words: none is used twice
)
