import pytest

from bench.search import Search


def tried(search: Search, limit: int) -> list[int]:
    """What is tried where everything up to `limit` holds."""
    numbers = []
    while (number := search.next_try()) is not None:
        numbers.append(number)
        search.tell(number, held=number <= limit)
    return numbers


def test_the_number_is_doubled_until_one_fails_and_then_the_rest_is_halved() -> None:
    search = Search(128, 4096)
    assert tried(search, 700) == [128, 256, 512, 1024, 768, 640, 704]
    assert search.most == 640


@pytest.mark.parametrize("limit", [1, 3, 100, 128, 500, 999, 2047, 4095])
def test_what_is_found_holds_and_is_at_most_an_eighth_below_what_could_be(limit: int) -> None:
    search = Search(128, 4096)
    tried(search, limit)
    assert search.most <= limit < search.most + max(1, search.most / 8) + 1


def test_the_search_ends_where_it_was_told_to() -> None:
    search = Search(128, 3000)
    assert tried(search, 10_000) == [128, 256, 512, 1024, 2048, 3000]
    assert search.most == 3000


def test_where_nothing_holds_nothing_is_found() -> None:
    search = Search(128, 4096)
    assert tried(search, 0)[-1] == 1
    assert search.most == 0
