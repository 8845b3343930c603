"""The text chart of the live view."""

from __future__ import annotations

from optimizers.results.render.text_chart import ChartPoint, terminal_chart


def test_models_have_letters_and_the_frontier_has_capitals() -> None:
    points = [
        ChartPoint("local/small", 0.9, 1e-6, True),
        ChartPoint("local/small", 0.2, 3e-6, False),
        ChartPoint("local/large", 0.95, 1e-5, True),
    ]
    lines = str(terminal_chart(points, width=40, height=12)).splitlines()
    plot = "\n".join(lines[:-1])
    assert plot.count("B") == 1
    assert plot.count("b") == 1
    assert plot.count("A") == 1
    # Better is higher, dearer is further right.
    assert next(i for i, line in enumerate(lines) if "A" in line) <= next(
        i for i, line in enumerate(lines) if "B" in line
    )
    assert "small" in lines[-1]


def test_nothing_measured_and_one_point_are_no_error() -> None:
    assert "nothing" in str(terminal_chart([], width=40, height=10))
    assert "A" in str(terminal_chart([ChartPoint("m", 1.0, 1e-6, True)], width=40, height=10))
