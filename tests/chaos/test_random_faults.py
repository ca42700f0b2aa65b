"""The row of faults that a seed gives."""

from itertools import pairwise

from tests.chaos.random_faults import LASTS_S, QUIET_S, Planned, RandomFaults, choices


def row(seed: str, count: int = 400, *, disks_fail: bool = True) -> list[Planned]:
    faults = RandomFaults("orders", 3, seed=seed, disks_fail=disks_fail)
    return [faults.plan() for _ in range(count)]


def shown(planned: Planned) -> tuple[object, ...]:
    return planned[:3]


def test_the_same_seed_gives_the_same_faults() -> None:
    assert list(map(shown, row("7"))) == list(map(shown, row("7")))
    assert list(map(shown, row("7"))) != list(map(shown, row("8")))


def test_every_kind_comes_alone_and_together_with_another() -> None:
    found = row("7", 1000)
    assert {planned.kinds[0] for planned in found if len(planned.kinds) == 1} == set(choices(disks_fail=True))
    assert {len(planned.kinds) for planned in found} == {1, 2}


def test_disks_are_left_alone_where_they_cannot_fail() -> None:
    kinds = {kind for planned in row("7", disks_fail=False) for kind in planned.kinds}
    assert not any("disk" in kind for kind in kinds)


def test_times_are_within_their_bounds_and_differ() -> None:
    found = row("7")
    assert all(QUIET_S[0] <= planned.after_s <= QUIET_S[1] for planned in found)
    assert all(LASTS_S[0] <= planned.lasts_s <= LASTS_S[1] for planned in found)
    assert all(one.lasts_s != other.lasts_s for one, other in pairwise(found))
