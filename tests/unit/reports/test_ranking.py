"""The notice list: the worst first, ties told, no rate out of nothing."""

from hazardloop.reports.ranking import FORMULA, ranked
from hazardloop.reports.words import LANGUAGES


def told(enterprise: str, *figures: int) -> dict[str, object]:
    names = ("raised", "closed", "on_time", "responded")
    return {"enterprise": enterprise} | dict(zip(names, figures, strict=True))


def test_the_first_share_that_differs_decides() -> None:
    listed, _ = ranked(
        [
            told("A", 10, 10, 10, 10),
            told("B", 10, 9, 9, 9),
            told("C", 10, 10, 8, 10),
            told("D", 10, 10, 10, 3),
        ]
    )
    assert [one.enterprise for one in listed] == ["B", "C", "D", "A"]
    assert [one.rank for one in listed] == [1, 2, 3, 4]


def test_equal_in_all_shares_is_an_equal_rank_and_the_next_ones_are_left_out() -> None:
    listed, _ = ranked(
        [told("Z", 4, 4, 4, 4), told("C", 4, 2, 2, 2), told("B", 2, 1, 1, 1), told("A", 8, 1, 1, 1)]
    )
    assert [(one.rank, one.enterprise) for one in listed] == [
        (1, "A"),
        (2, "B"),
        (2, "C"),
        (4, "Z"),
    ]


def test_shares_are_compared_exactly_and_not_as_they_are_shown() -> None:
    # Both are shown as 99.99 %.
    listed, _ = ranked([told("A", 100_000, 99_998, 0, 0), told("B", 100_000, 99_997, 0, 0)])
    assert [(one.rank, one.enterprise) for one in listed] == [(1, "B"), (2, "A")]


def test_who_had_no_alarm_is_not_ranked() -> None:
    listed, unranked = ranked([told("B", 0, 0, 0, 0), told("A", 0, 0, 0, 0), told("C", 1, 0, 0, 0)])
    assert [one.enterprise for one in listed] == ["C"]
    assert unranked == ["A", "B"]
    assert ranked([]) == ([], [])


def test_the_formula_is_told_in_every_language() -> None:
    assert FORMULA.keys() == set(LANGUAGES)
