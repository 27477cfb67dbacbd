"""apo/report/cells.py: numbers, intervals and differences by hand."""

from apo.report.cells import bounds, interval, number, signed_difference


def test_number_and_interval_by_hand() -> None:
    assert [number(x) for x in (1234, 0.12345, 0.0, 1e-9, -2.0, None, "a", True)] == [
        "1,234",
        "0.123",
        "0.000",
        "1.0e-09",
        "-2.000",
        "",
        "a",
        "True",
    ]
    comparison = {
        "difference": 0.5,
        "low": 0.25,
        "high": 0.75,
        "win_rate": 0.5,
        "win_rate_low": 0.4,
        "win_rate_high": 0.6,
    }
    assert interval(comparison, "difference") == "0.500 (0.250 to 0.750)"
    assert interval(comparison, "win_rate") == "0.500 (0.400 to 0.600)"
    assert bounds({"score_mean": 1.0, "score_low": 0.0, "score_high": 2.0}, "score_mean") == (
        "score_low",
        "score_high",
    )
    assert interval({"low": 1.0, "high": 2.0, "win": 3}, "win") == "3"


def test_signed_difference_by_hand() -> None:
    gain = {"gain": -0.25, "gain_low": -0.5, "gain_high": 0.0}
    assert signed_difference(gain, "gain") == "-0.250 (-0.500 to +0.000)"
    assert signed_difference({"difference": 0.5}) == "+0.500"
    assert signed_difference({"low": 0.0, "high": 1.0}) == ""
