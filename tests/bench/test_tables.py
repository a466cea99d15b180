from bench.tables import markdown


def test_every_line_of_a_table_is_equally_long_and_figures_stand_right() -> None:
    assert markdown(["name", "n"], ["a longer one", "1,000"], ["b", "2"]).splitlines() == [
        "| name         |     n |",
        "| ------------ | ----: |",
        "| a longer one | 1,000 |",
        "| b            |     2 |",
    ]
