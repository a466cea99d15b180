"""What the chair of a council is asked."""

from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.groups.chair import LIMIT_CHARACTERS, chairs_question


def test_the_chair_is_asked_to_name_agreement_contradiction_and_what_only_one_said() -> None:
    asked = chairs_question("What is it?", {"default@nas": "This.", "work@nas": "That."}, {})
    for words in ("where they agree", "contradict each other", "only one of them said", "by their addresses"):
        assert words in asked
    assert "carry nothing out again" in asked
    assert "No answer came" not in asked
    assert asked.index("What is it?") < asked.index("This.") < asked.index("That.")


def test_short_texts_are_whole_and_a_long_one_is_cut_and_says_so() -> None:
    long = "x" * (2 * LIMIT_CHARACTERS)
    asked = chairs_question("What is it?", {"default@nas": "This.", "work@nas": long}, {"default@tower": "failed (y)"})
    assert LIMIT_CHARACTERS - 10 <= len(asked) <= LIMIT_CHARACTERS
    assert '<answer from="default@nas">\nThis.\n</answer>' in asked
    assert "x\n[cut here: too long for one message]\n</answer>" in asked
    assert "- default@tower: failed (y)\n" in asked
    assert chairs_question(long, {"default@nas": "This."}, {}).count("[cut here") == 1


@given(
    st.integers(0, 100_000), st.lists(st.integers(0, 100_000), min_size=1, max_size=64), st.lists(st.integers(0, 500))
)
def test_the_question_is_never_longer_than_an_agent_takes(
    question: int, answers: list[int], failures: list[int]
) -> None:
    asked = chairs_question(
        "q" * question,
        {f"default@peer-{n}": "a" * length for n, length in enumerate(answers)},
        {f"default@gone-{n}": "f" * length for n, length in enumerate(failures[:64])},
    )
    assert len(asked) <= LIMIT_CHARACTERS
    if sum([question, *answers, *failures]) < LIMIT_CHARACTERS - 20_000:
        assert "[cut here" not in asked
