"""The four stages of a round (paper, section 2.3), each a generator of blocks of records.

A stage is ``stage(section, engine, inputs, seed=0, resume=Resume())``, callable from a notebook
without a run; `records_of` makes a flat list of what it yields.
"""

from collections.abc import Iterable

from srlm.store.blocks import Block, R


def records_of(blocks: Iterable[Block[R]]) -> list[R]:
    """All records of a stage as one list."""
    return [record for block in blocks for record in block.records]
