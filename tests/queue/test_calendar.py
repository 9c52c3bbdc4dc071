"""The calendar against a plain dictionary, and who waits for a next hop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.queue.calendar import Calendar
from mailstrom_cli.queue.line import ENOUGH, UNKNOWN, Line, Waiting, stream_of
from mailstrom_cli.store.base import Scheduled

IDS = st.sampled_from([f"id{n:0{n + 1}}" for n in range(8)])
TIMES = st.integers(0, 50).map(lambda n: n / 4)
LATEST = 10.0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), IDS, TIMES),
            st.tuples(st.just("load"), st.dictionaries(IDS, TIMES), st.sets(IDS)),
            st.tuples(st.just("pop"), TIMES, st.none()),
        )
    )
)
def test_nothing_is_forgotten_early_or_out_of_order(steps: list[tuple]) -> None:
    """What was told last of a message, or sooner, is when it comes; what a listing said may come again."""
    calendar = Calendar()
    added: dict[str, float] = {}
    listed: dict[str, float] = {}
    for what, first, second in [*steps, ("pop", 99.0, None)]:
        if what == "add":
            assert calendar.add(first, second) is (second < added.get(first, 99))
            added[first] = min(second, added.get(first, 99))
            listed.pop(first, None)
        elif what == "load":
            calendar.load([Scheduled(i, due) for i, due in first.items()], second, LATEST)
            listed = {
                i: due if due <= LATEST else 0.0
                for i, due in first.items()
                if i not in second and min(due, LATEST) < added.get(i, 99)
            }
            for id in listed:
                added.pop(id, None)
        else:
            due = {i: d for i, d in (listed | added).items() if d <= first}
            popped = []
            while (id := calendar.pop(first)) is not None:
                popped.append(id)
            wanted = [id for id in dict.fromkeys(popped) if id in due]
            assert [due[id] for id in wanted] == sorted(due.values())
            later = calendar.next_due()
            assert later is None or later > first
            added = {i: d for i, d in added.items() if d > first}
            listed = {i: d for i, d in listed.items() if d > first}
    assert calendar.next_due() is None


def test_what_was_moved_forward_wakes_nobody_a_second_time() -> None:
    calendar = Calendar()
    calendar.add("id", 5.0)
    calendar.add("id", 1.0)
    assert calendar.pop(1.0) == "id"
    assert calendar.next_due() is None


def test_senders_take_turns_and_each_keeps_its_order() -> None:
    line = Line()
    for n in range(4):
        line.append(Waiting(f"bulk{n}", False), "news@example.org")
    line.append(Waiting("one", False), "ann@example.org")
    line.append(Waiting("backlog", False))
    assert len(line) == 6
    assert [line.popleft().id for _ in range(6)] == ["bulk0", "one", "backlog", "bulk1", "bulk2", "bulk3"]
    assert len(line) == 0


def test_the_tags_of_a_mailing_make_no_senders() -> None:
    for path in ("news-17-bob=example.net@X.org", "News+17@x.org", "news=bob@x.org", "news@x.org"):
        assert stream_of(path) == "news@x.org"
    assert stream_of("-x@y.org") == "-x@y.org"
    assert stream_of("") == ""


def test_of_a_sender_with_many_the_most_are_parked_and_come_in_their_order() -> None:
    line, count = Line(), 2 * ENOUGH + 300
    for n in range(count):
        if line.full("news@example.org"):
            line.park(str(n), "news@example.org")
        else:
            line.append(Waiting(str(n), False), "news@example.org")
    assert not line.full("ann@example.org")
    line.append(Waiting("one", False), "ann@example.org")
    assert len(line) == count + 1
    came = list(line.drain())
    assert came[1].id == "one"
    assert [w.id for w in came if w.id != "one"] == [str(n) for n in range(count)]
    assert [w.parked for w in came].count(True) == count - ENOUGH
    assert len(line) == 0


def test_what_is_parked_can_be_forgotten() -> None:
    line = Line()
    line.append(Waiting("a", False))
    line.park("b", UNKNOWN)
    line.forget_parked()
    assert [w.id for w in line.drain()] == ["a"]
    line.append(Waiting("c", False))
    assert line.popleft().id == "c"
