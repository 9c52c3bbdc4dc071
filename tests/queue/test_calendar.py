"""The calendar against a plain dictionary, and who waits for a next hop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailstrom_cli.queue.calendar import Calendar
from mailstrom_cli.queue.line import Line, Waiting, stream_of
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
    """What was told last of a message, or sooner, is when it comes; what a listing repeats may come again."""
    calendar, added, listed = Calendar(), {}, {}
    for what, first, second in steps:
        if what == "add":
            assert calendar.add(first, second) is (second < added.get(first, 99))
            added[first] = min(second, added.get(first, 99))
        elif what == "load":
            calendar.load([Scheduled(i, due) for i, due in first.items()], second, LATEST)
            listed = {
                i: min(due, LATEST) for i, due in first.items() if i not in second and due < added.get(i, 99)
            }
        else:
            due = {i: d for i, d in (listed | added).items() if d <= first}
            popped = []
            while (id := calendar.pop(first)) is not None:
                popped.append((due[id], id))
                added.pop(id, None)
                listed.pop(id, None)
            assert popped == sorted(popped, key=lambda item: item[0])
            assert {id for _, id in popped} == set(due)
            listed = {i: d for i, d in listed.items() if d > first}
    pending = [*added.values(), *(d for i, d in listed.items())]
    assert (calendar.next_due() is None) is (not pending)


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
