"""However many processes share an epoch: each record counts once, and all have as many batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from factory.train.batches import LengthGrouped
from factory.train.even import COUNTS, NOTHING, EvenOrder, Examples, collate_some


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_every_record_counts_once_and_batches_are_shared_evenly(
    records: int, size: int, processes: int, epoch: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WORLD_SIZE", str(processes))
        alone = LengthGrouped([7] * records, size, seed=1)
        order = EvenOrder(LengthGrouped([7] * records, size, seed=1))
        alone.set_epoch(epoch)
        order.set_epoch(epoch)
        found = list(order)
        assert len(found) == len(order)
    assert [at for at in found if at != NOTHING] == list(alone)
    assert found[:records] == list(alone)
    if processes == 1:
        assert len(found) == records
    else:
        assert len(found) % (size * processes) == 0
        assert len(found) - records < size * processes


def test_a_batch_without_examples_counts_nothing() -> None:
    examples = Examples([3, 4])

    def collate(rows: list[int]) -> dict[str, torch.Tensor]:
        return {"ids": torch.tensor(rows)}

    some = collate_some(collate, 3, [examples[1], examples[NOTHING]])
    assert some["ids"].tolist() == [4]
    assert COUNTS not in some
    none = collate_some(collate, 3, [examples[NOTHING]])
    assert none["ids"].tolist() == [3]
    assert not none[COUNTS]
