"""Where sessions are at home, whatever else goes on in them."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest
from coordinator.told import ToldTurn
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import Conflict
from switchboard_coordinator.turn import Event, Transport
from switchboard_coordinator.turns import sessions as module
from switchboard_coordinator.turns.sessions import Claim, Session, Sessions

if TYPE_CHECKING:
    from switchboard_coordinator.turns.journal import Journal

NAS, LAPTOP, TOWER = (Address("default", name) for name in ("nas", "laptop", "tower"))


@dataclass
class Kept:
    """In a journal's place: what is asked to be written stands in `queued` until `write`."""

    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    queued: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)
    reads: int = 0
    turns: list[ToldTurn] = field(default_factory=list)

    async def session(self, consumer: str, name: str) -> Any:
        self.reads += 1
        row = self.rows.get((consumer, name))
        return None if row is None else SimpleNamespace(**row)

    def remember_session(self, row: dict[str, Any]) -> None:
        self.queued[row["consumer"], row["session"]] = row

    def forget_session(self, consumer: str, name: str) -> None:
        self.queued[consumer, name] = None

    def write(self) -> None:
        rows = {**self.rows, **self.queued}
        self.rows = {key: row for key, row in rows.items() if row is not None}
        self.queued = {}

    async def session_turns(self, consumer: str, name: str, after: str | None, limit: int) -> list[Any]:
        del consumer, name, after
        question = orjson.dumps([{"role": "user", "content": "?"}])
        return [SimpleNamespace(id=n, question=question) for n, _ in enumerate(self.turns)][-limit:]

    async def events(self, turn: int, after: int) -> list[Event]:
        assert after == 0
        return self.turns[turn].events

    def sessions(self) -> Sessions:
        """Those of a coordinator that has this journal."""
        return Sessions(cast("Journal", self))


@dataclass
class Tale:
    """One session of one consumer."""

    kept: Kept = field(default_factory=Kept)

    def __post_init__(self) -> None:
        self.sessions = self.kept.sessions()
        self.turns = 0

    async def home(self) -> str | None:
        session = await self.sessions.of("me", "tale")
        return session.home if session else None

    async def claim(self, address: Address, *, may_move: bool = True) -> Claim:
        await self.sessions.of("me", "tale")
        return self.sessions.claim("me", "tale", address, may_move=may_move)

    def end(self, claim: Claim, address: Address, *, did_start: bool, transport: Transport = "chat") -> str:
        self.turns += 1
        turn = f"turn_{self.turns:032x}"
        self.sessions.took_part(
            claim, str(address), turn, did_start=did_start, is_stored=did_start and transport == "chat"
        )
        return turn


async def test_the_first_turn_gives_a_session_its_home_before_it_is_sent() -> None:
    tale = Tale()
    assert await tale.home() is None
    claim = await tale.claim(NAS, may_move=False)
    assert (claim.affinity(claim.home), await tale.home()) == ("miss", "default@nas")
    tale.kept.write()
    row = tale.kept.rows["me", "tale"]
    assert {**row, "used_at": 0} == {
        "consumer": "me",
        "session": "tale",
        "home": "default@nas",
        "seen": {},
        "used_at": 0,
    }


async def test_elsewhere_it_is_refused_and_nothing_changes() -> None:
    tale = Tale()
    tale.end(await tale.claim(NAS), NAS, did_start=True)
    tale.kept.write()
    with pytest.raises(Conflict, match=r"'tale' is at home at default@nas: .*x-switchboard-move: yes") as refused:
        await tale.claim(LAPTOP, may_move=False)
    assert (refused.value.status, refused.value.code) == (409, "session_peer_mismatch")
    assert refused.value.param == "x-hermes-session-id"
    assert (await tale.home(), tale.kept.queued) == ("default@nas", {})
    assert (await tale.claim(NAS, may_move=False)).affinity(str(NAS)) == "hit"


async def test_a_home_is_read_again_by_another_process() -> None:
    tale = Tale()
    turn = tale.end(await tale.claim(NAS), NAS, did_start=True)
    tale.kept.write()
    again = tale.kept.sessions()
    assert await again.of("me", "tale") == Session("default@nas", {"default@nas": turn})
    assert await again.of("you", "tale") is None
    assert again.claim("me", "tale", LAPTOP, may_move=True).affinity(str(LAPTOP)) == "moved"


async def test_a_run_is_no_turn_up_to_which_its_address_has_stored_everything() -> None:
    tale = Tale()
    turn = tale.end(await tale.claim(NAS), NAS, did_start=True)
    tale.end(await tale.claim(LAPTOP), LAPTOP, did_start=True, transport="runs")
    assert await tale.sessions.of("me", "tale") == Session("default@laptop", {"default@nas": turn})


async def test_of_two_turns_at_one_address_the_later_one_counts_whichever_ends_first() -> None:
    tale = Tale()
    first, second = await tale.claim(NAS), await tale.claim(NAS)
    for claim, turn in ((second, "turn_2"), (first, "turn_1")):
        tale.sessions.took_part(claim, str(NAS), turn, did_start=True, is_stored=True)
    assert await tale.sessions.of("me", "tale") == Session("default@nas", {"default@nas": "turn_2"})


async def test_a_turn_that_ends_where_the_session_was_before_does_not_take_it_back() -> None:
    tale = Tale()
    slow = await tale.claim(NAS)
    tale.end(await tale.claim(LAPTOP), LAPTOP, did_start=True)
    tale.end(slow, NAS, did_start=True)
    assert await tale.home() == "default@laptop"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_moves_at_once_of_which_neither_starts_move_nothing(order: tuple[int, int]) -> None:
    tale = Tale()
    tale.end(await tale.claim(NAS), NAS, did_start=True)
    moves = [(await tale.claim(address), address) for address in (LAPTOP, TOWER)]
    for n in order:
        tale.end(*moves[n], did_start=False)
    assert await tale.home() == "default@nas"
    tale.kept.write()
    assert tale.kept.rows["me", "tale"]["home"] == "default@nas"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_first_turns_at_once_the_one_that_starts_gives_the_home(order: tuple[int, int]) -> None:
    tale = Tale()
    claims = [await tale.claim(NAS, may_move=False) for _ in range(2)]
    for n in order:
        tale.end(claims[n], NAS, did_start=n == 1)
    tale.kept.write()
    assert await tale.home() == tale.kept.rows["me", "tale"]["home"] == "default@nas"


async def test_a_first_turn_that_did_not_start_leaves_no_session_though_it_is_not_written_yet() -> None:
    tale = Tale()
    claim = await tale.claim(NAS)
    tale.kept.write()  # with the turn itself, before it is sent
    tale.end(claim, NAS, did_start=False)
    assert await tale.home() is None
    assert (await tale.claim(LAPTOP, may_move=False)).affinity(str(LAPTOP)) == "miss"
    tale.kept.write()
    assert tale.kept.rows["me", "tale"]["home"] == "default@laptop"


async def test_a_session_that_never_began_is_forgotten_in_the_journal() -> None:
    tale = Tale()
    claim = await tale.claim(NAS)
    tale.kept.write()
    tale.end(claim, LAPTOP, did_start=False)  # of a group's candidates another one refused last
    tale.kept.write()
    assert tale.kept.rows == {}


async def test_where_another_candidate_took_the_turn_that_is_its_home() -> None:
    tale = Tale()
    tale.end(await tale.claim(NAS), LAPTOP, did_start=True)
    assert await tale.home() == "default@laptop"


@given(st.data())
async def test_at_home_is_where_the_last_turn_that_started_was_sent(data: st.DataObject) -> None:
    """Turns begin and end in any order, each with or without having started."""
    tale = Tale()
    begun: list[Address] = []
    going_on: dict[int, Claim] = {}
    started: set[int] = set()
    for _ in range(data.draw(st.integers(1, 12))):
        is_end = bool(data.draw(st.booleans()))
        if going_on and is_end:
            number, did_start = data.draw(st.tuples(st.sampled_from(sorted(going_on)), st.booleans()))
            tale.end(going_on.pop(number), begun[number], did_start=did_start)
            started |= {number} if did_start else set()
        else:
            address = data.draw(st.sampled_from([NAS, LAPTOP, TOWER]))
            going_on[len(begun)] = await tale.claim(address)
            begun.append(address)
        standing = max((*started, *going_on), default=None)
        assert await tale.home() == (None if standing is None else str(begun[standing]))
        tale.kept.write()
        row = tale.kept.rows.get(("me", "tale"))
        assert (row["home"] if row else None) == await tale.home(), "what is written is what is known"


async def test_no_more_than_some_sessions_are_held_and_the_others_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 100)
    kept = Kept()
    sessions = kept.sessions()
    going_on = sessions.claim("me", "long", NAS, may_move=False)
    for n in range(1000):
        claim = sessions.claim("me", f"s{n}", NAS, may_move=False)
        sessions.took_part(claim, str(NAS), f"turn_{n}", did_start=True, is_stored=True)
    kept.write()
    assert len(sessions._known) == 100
    assert await sessions.of("me", "s999") == Session("default@nas", {"default@nas": "turn_999"})
    assert kept.reads == 0
    assert await sessions.of("me", "s0") == Session("default@nas", {"default@nas": "turn_0"})
    assert kept.reads == 1
    sessions.took_part(going_on, str(NAS), "turn_", did_start=False, is_stored=False)
    assert await sessions.of("me", "long") is None, "it was not forgotten while its turn went on"


def told(text: str, mode: str = "", lane: str = "nas", *, is_done: bool = True) -> ToldTurn:
    """A turn whose first lane said this."""
    turn = ToldTurn(mode, [lane])
    turn.send(0)
    if text:
        turn.say(0, text)
    if is_done:
        turn.done(0)
    else:
        turn.fail(0, "interrupted", "peer_outcome_unknown")
    turn.end()
    return turn


async def test_what_was_said_is_told_with_what_broke_off_and_without_groups_and_silence() -> None:
    turns = [told("one"), told("half", is_done=False), told(""), told("many", "all"), told("any of them", "any")]
    said = await Kept(turns=turns).sessions().said("me", "tale")
    assert [message["content"] for message in said] == ["?", "one", "?", "half", "?", "any of them"]


async def test_what_an_address_said_itself_is_not_told_to_it() -> None:
    kept = Kept(turns=[told("one"), told("two", lane="laptop")])
    said = await kept.sessions().said("me", "tale", elsewhere_than="default@nas")
    assert [message["content"] for message in said] == ["?", "two"]


async def test_of_a_long_session_the_newest_is_told_as_much_as_an_agent_takes() -> None:
    kept = Kept(turns=[told("a" * 1000), *(told(f"{n}" * (module.CHARACTERS_TOLD // 4)) for n in range(5))])
    said = await kept.sessions().said("me", "tale")
    assert [message["content"][:1] for message in said] == ["?", "2", "?", "3", "?", "4"]
    assert sum(len(message["content"]) for message in said) <= module.CHARACTERS_TOLD


async def test_of_many_turns_so_many_are_told() -> None:
    kept = Kept(turns=[told(str(n)) for n in range(module.TURNS_TOLD + 5)])
    said = await kept.sessions().said("me", "tale")
    assert [message["content"] for message in said[:2]] == ["?", "5"]
    assert len(said) == 2 * module.TURNS_TOLD
