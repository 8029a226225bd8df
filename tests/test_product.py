"""Matrix products: the same bits on any number of threads."""

import json
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit.training import linear_layer

CODE = """
import json, random
from refit.core import determinism
LEVEL = {level!r}
determinism.apply(LEVEL)
import torch
from refit.training import linear_layer as product
determinism.seed_everything(1, LEVEL)
random.seed(1)
product.WORTHWHILE = {worthwhile}
different, halved = [], 0
for number in range({shapes}):
    m, k, n = (random.choice([1, 2, random.randint(1, 99), random.randint(1, 1200)]) for _ in "mkn")
    if m * k * n > 3e8 or (LEVEL == "threads" and m * k * n < 8e6):
        continue
    for a, b in (
        (torch.randn(m, k), torch.randn(k, n)),
        (torch.randn(m, k), torch.randn(n, k).t()),
        (torch.randn(k, m).t(), torch.randn(k, n)),
    ):
        results = []
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads if LEVEL == "threads" else 1)
            product.use(LEVEL, threads)
            results.append(product.multiply(a, b))
        halved += len(product.blocks(m, 2)) > 1
        different += [(m, k, n)] * (not all(torch.equal(results[0], other) for other in results))
print(json.dumps([different, halved]))
"""


@pytest.mark.parametrize(
    ("level", "worthwhile", "shapes"), [("any-x86", 1, 200), ("threads", 8_000_000, 600)]
)
def test_a_product_has_the_same_bits_on_any_number_of_threads(
    level: str, worthwhile: int, shapes: int
) -> None:
    """Products of many sizes, plain and transposed, are equal on one to four threads."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(level=level, worthwhile=worthwhile, shapes=shapes)],
        env=os.environ | {"REFIT_THREADS": "4"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    different, halved = json.loads(done.stdout)
    assert different == []
    assert halved > 50


@given(rows=st.integers(0, 3000), wanted=st.integers(0, 9))
def test_blocks_cover_the_rows_and_are_cut_at_tiles(rows: int, wanted: int) -> None:
    """Every row is in one block; no block is shorter than a tile unless it is alone."""
    slices = linear_layer.blocks(rows, wanted)
    assert 1 <= len(slices) <= max(wanted, 1)
    assert (slices[0].start, slices[-1].stop) == (0, rows)
    assert all(a.stop == b.start and a.stop % linear_layer.TILE == 0 for a, b in pairwise(slices))
    assert len(slices) == 1 or all(b.stop - b.start >= linear_layer.TILE for b in slices)
