"""Partners of another group: a derangement wherever there is one."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.mismatch import partners


@given(
    groups=st.lists(st.integers(0, 4), min_size=2, max_size=30).filter(lambda g: len(set(g)) > 1),
    seed=st.integers(0, 99),
)
def test_partners_are_of_another_group_and_a_permutation_where_one_exists(groups, seed):
    partner, replaced = partners(groups, random.Random(seed))
    assert all(groups[other] != group for other, group in zip(partner, groups, strict=True))
    possible = 2 * max(Counter(groups).values()) <= len(groups)
    assert replaced is not possible
    if possible:
        assert sorted(partner) == list(range(len(groups)))


def test_every_partner_is_about_as_likely():
    """Four groups of one: each of the three others with probability 1/3; 3,000 draws scatter by 26
    around 1,000.
    """
    counts = Counter(partners([0, 1, 2, 3], random.Random(seed))[0][0] for seed in range(3000))
    assert set(counts) == {1, 2, 3}
    assert all(abs(n - 1000) < 130 for n in counts.values())
