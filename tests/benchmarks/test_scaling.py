"""What is counted in a compiled program is what the devices tell each other."""

import pytest
from scaling import collectives, line

HLO = """
  %all-reduce.3 = f64[7,5]{1,0} all-reduce(%dot.1), channel_id=1, replica_groups=[1,8]<=[8], to_apply=%add
  %all-gather-start = (f32[2]{0}, f32[16]{0}) all-gather-start(%p), channel_id=2, dimensions={0}
  %reduced = (f64[], s32[3]{0}) all-reduce(%a, %b), channel_id=3
  ROOT %add.9 = f64[7,5]{1,0} add(%all-reduce.3, %all-reduce.3)
"""


def test_collectives_are_counted_by_kind_and_shape():
    found = collectives(HLO)
    assert found["bytes"] == {"all-reduce": 7 * 5 * 8 + 8 + 3 * 4, "all-gather": (2 + 16) * 4}
    assert found["largest"]["all-reduce f64[7,5]"] == 280
    assert collectives("%a = f64[2] add(%b, %c)") == {"bytes": {}, "largest": {}}


def test_a_line_compares_the_work_of_a_walker():
    first = {"devices": 1, "walkers": 16, "wall": 0.1, "cpu": 0.1, "bytes": {}}
    more = {"devices": 8, "walkers": 128, "wall": 0.5, "cpu": 1.2, "bytes": {"all-reduce": 2**19}}
    assert line(first, first).endswith("1.00   nothing")
    assert float(line(more, first).split()[4]) == pytest.approx(1.5)
    assert line(more, first).endswith("all-reduce 0.50 MiB")
