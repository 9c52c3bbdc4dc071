"""What every store keeps to. A store's test class derives from StoreContract and gives the fixture
`store`."""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.errors import DATA, TEMPORARY, MailstromError, NoSuchMessage
from mailstrom_cli.mail.status import FINAL, STATES, UNFINISHED
from mailstrom_cli.store.base import NOTE_OCTETS, HostState, Note, Store, Submission
from mailstrom_cli.store.entry import DamagedEntry
from mailstrom_cli.store.ids import is_id

from .samples import BODY, NOW, ONE, TWO, event, results, submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOBODY = "0" * 16


def due(store: Store) -> dict[str, float]:
    return {s.id: pytest.approx(s.due, abs=0.001) for s in store.scheduled()}


def put(store: Store, *recipients: str, now: float = NOW, **envelope: object) -> str:
    (id,) = store.intake([submission(*recipients, **envelope)], now)
    return id


def record(store: Store, id: str, *events: dict[str, object]) -> None:
    lease = store.lease(id)
    assert lease is not None
    with lease:
        for one in events:
            lease.record(one)


def octets(store: Store, id: str) -> bytes:
    with store.open_message(id) as message:
        return message.read()


class StoreContract:
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise AssertionError("a contract needs a store")

    # --- intake ---

    def test_what_is_taken_in_is_queued_unchanged_and_due_at_once(self, store: Store) -> None:
        id = put(store, ONE, TWO, envid="e1")
        entry = store.read(id)
        assert is_id(id)
        assert (entry.id, entry.state, entry.submitted, entry.next_attempt) == (id, "queued", NOW, NOW)
        assert entry.envelope == submission(ONE, TWO, envid="e1").envelope
        assert octets(store, id) == BODY
        assert due(store) == {id: NOW}

    def test_a_batch_gives_its_ids_in_order(self, store: Store) -> None:
        ids = store.intake([submission(message_id=f"<{n}@example.org>") for n in range(250)], NOW)
        assert len(set(ids)) == 250
        assert [store.read(id).envelope.message_id for id in ids] == [
            f"<{n}@example.org>" for n in range(250)
        ]

    def test_an_empty_batch_is_no_trouble(self, store: Store) -> None:
        assert store.intake([], NOW) == []

    def test_a_message_for_later_is_due_later(self, store: Store) -> None:
        id = put(store, at=NOW + 3600)
        assert due(store) == {id: NOW + 3600}

    def test_a_batch_that_fails_in_the_middle_leaves_nothing(self, store: Store) -> None:
        def broken() -> Iterable[bytes]:
            yield BODY[:10]
            raise MailstromError("cannot be read", None, 66)

        bad = Submission(submission().envelope, broken())
        with pytest.raises(MailstromError, match="cannot be read"):
            store.intake([submission(), bad, submission()], NOW)
        assert store.count(STATES) == 0
        assert list(store.scheduled()) == []

    def test_a_message_of_another_size_than_its_envelope_says_is_a_bug(self, store: Store) -> None:
        with pytest.raises(ValueError, match="octets"):
            store.intake([submission(), submission(size=len(BODY) + 1)], NOW)
        assert store.count(STATES) == 0

    @pytest.mark.parametrize("state", STATES)
    def test_no_two_messages_have_one_id(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, state: str
    ) -> None:
        """Whatever their chance, with a clock that stands still, and wherever the first one is by then."""
        chances = iter([7] * 9 + [8])
        monkeypatch.setattr(os, "urandom", lambda octets: next(chances).to_bytes(octets, "big"))
        first = put(store)
        events = {
            "deferred": results(NOW, b=NOW + 300),
            "delivered": results(NOW, b="delivered"),
            "failed": results(NOW, b="failed"),
        }
        if state in events:
            record(store, first, events[state])
        assert store.read(first).state == state
        second = put(store)
        assert first != second
        assert sorted(store.ids(STATES)) == [first, second]
        assert next(chances, None) is None, "an id that was in use was not drawn again"

    # --- keys ---

    def test_the_same_key_and_message_give_the_same_id(self, store: Store) -> None:
        first = put(store, key="k", digest="d1")
        assert put(store, key="k", digest="d1") == first
        assert put(store, key="other", digest="d1") != first
        assert store.count(STATES) == 2

    def test_the_ids_of_one_batch_sort_as_its_messages_came(self, store: Store) -> None:
        ids = store.intake([submission() for _ in range(30)], NOW)
        assert ids == sorted(set(ids))
        assert all(map(is_id, ids))

    def test_a_key_twice_in_one_batch_is_one_message(self, store: Store) -> None:
        ids = store.intake(
            [submission(key="k", digest="d"), submission(), submission(key="k", digest="d")], NOW
        )
        assert ids[0] == ids[2] != ids[1]
        assert store.count(STATES) == 2

    def test_another_message_under_a_key_is_refused_with_all_of_its_batch(self, store: Store) -> None:
        first = put(store, key="k", digest="d1")
        with pytest.raises(MailstromError, match=first) as refused:
            store.intake([submission(), submission(key="k", digest="d2")], NOW)
        assert refused.value.exit_code == DATA
        assert store.count(STATES) == 1

    def test_the_key_of_a_purged_message_is_free(self, store: Store) -> None:
        first = put(store, key="k", digest="d1")
        record(store, first, results(NOW, b="delivered"))
        assert put(store, key="k", digest="d1") == first
        store.purge(first)
        assert put(store, key="k", digest="d2") != first

    def test_a_failed_batch_gives_its_keys_back(self, store: Store) -> None:
        with pytest.raises(ValueError, match="octets"):
            store.intake([submission(key="k", digest="d1"), submission(size=1)], NOW)
        assert is_id(put(store, key="k", digest="d2"))

    def test_many_at_once_under_one_key_are_one_message(self, store: Store) -> None:
        ids: list[str] = []
        threads = [
            threading.Thread(target=lambda: ids.append(put(store, key="k", digest="d"))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids) == 8
        assert len(set(ids)) == 1

    # --- leases, events, moves ---

    def test_a_lease_is_exclusive_until_released(self, store: Store) -> None:
        id = put(store)
        lease = store.lease(id)
        assert lease is not None
        assert store.lease(id) is None
        lease.release()
        lease.release()
        with store.lease(id) as again:
            assert store.lease(id) is None
            assert again.entry == store.read(id)
            with again.open_message() as message:
                assert message.read() == BODY
        assert store.lease(id) is not None

    def test_of_many_threads_one_gets_the_lease(self, store: Store) -> None:
        id = put(store)
        start, got = threading.Barrier(8), []

        def try_it() -> None:
            start.wait()
            got.append(store.lease(id))

        threads = [threading.Thread(target=try_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(lease is not None for lease in got) == 1

    @pytest.mark.parametrize(
        ("told", "state"),
        [
            ({"b": "delivered", "c": "delivered"}, "delivered"),
            ({"b": "delivered", "c": "failed"}, "failed"),
            ({"b": "delivered", "c": NOW + 300}, "deferred"),
            ({"b": NOW + 200, "c": NOW + 300}, "deferred"),
        ],
    )
    def test_the_state_follows_from_the_results(self, store: Store, told: dict[str, str], state: str) -> None:
        id = put(store, ONE, TWO)
        with store.lease(id) as lease:
            after = lease.record(results(NOW, **told))
            assert after == lease.entry
        assert (after.state, store.read(id)) == (state, after)
        assert [s for s in STATES if id in store.ids([s])] == [state]
        assert store.count([state]) == 1
        assert [e.get("event") for e in store.events(id)] == [None, "results"]

    def test_each_recipient_keeps_its_own_result(self, store: Store) -> None:
        id = put(store, ONE, TWO)
        record(store, id, results(NOW, b="delivered"), results(NOW + 1, c=NOW + 300))
        one, two = store.read(id).recipients
        assert (one.status, one.code, one.last_attempt, one.next_attempt) == ("delivered", 250, NOW, None)
        assert (two.status, two.code, two.enhanced, two.next_attempt) == ("deferred", 450, "4.2.0", NOW + 300)
        assert due(store) == {id: NOW + 300}

    def test_what_is_no_event_is_refused_and_nothing_of_it_kept(self, store: Store) -> None:
        id = put(store)
        with store.lease(id) as lease:
            for bad in (
                event("held", -1),
                {"event": "results", "time": NOW, "recipients": [{"address": ONE}]},
            ):
                with pytest.raises(DamagedEntry):
                    lease.record(bad)
            with pytest.raises(ValueError, match="sidecar"):
                lease.record(event("other", NOW, thing=float("nan")))
        assert len(store.events(id)) == 1

    def test_unknown_events_are_kept_and_passed_over(self, store: Store) -> None:
        id = put(store)
        before = store.read(id)
        record(store, id, event("bounced", NOW, to="a@example.org"))
        assert store.read(id) == before
        assert store.events(id)[1] == event("bounced", NOW, to="a@example.org")

    def test_a_held_message_is_not_scheduled_until_released(self, store: Store) -> None:
        id, other = put(store), put(store)
        record(store, id, event("held", NOW + 10))
        assert due(store) == {other: NOW}
        assert store.read(id).held
        assert store.read(id).state == "queued"
        record(store, id, event("released", NOW + 25))
        assert due(store) == {id: NOW, other: NOW}
        assert (store.read(id).held, store.read(id).held_for) == (False, 15)

    def test_a_lease_that_changed_nothing_leaves_a_held_message_held(self, store: Store) -> None:
        id = put(store)
        record(store, id, event("held", NOW))
        with store.lease(id) as lease:
            lease.postpone(NOW + 300)
        assert due(store) == {}

    def test_a_cancelled_message_is_failed_and_retry_undoes_it(self, store: Store) -> None:
        id = put(store, ONE, TWO)
        record(store, id, results(NOW, b="delivered"), event("cancelled", NOW + 5))
        assert [(r.status, r.text) for r in store.read(id).recipients] == [
            ("delivered", "so be it"),
            ("failed", "cancelled"),
        ]
        assert list(store.finished_since(NOW + 5)) == [id]
        assert due(store) == {}
        record(store, id, event("retried", NOW + 9, recipients=[ONE, TWO]))
        assert store.read(id).state in UNFINISHED
        assert due(store) == {id: NOW + 9}
        assert list(store.finished_since(0)) == []
        assert [(r.status, r.text) for r in store.read(id).recipients] == [
            ("delivered", "so be it"),
            ("queued", None),
        ]

    # --- the schedule ---

    def test_a_postponed_message_stays_so_after_the_lease(self, store: Store) -> None:
        id = put(store)
        with store.lease(id) as lease:
            lease.postpone(NOW + 300)
            assert due(store) == {id: NOW + 300}
        assert due(store) == {id: NOW + 300}
        with store.lease(id):
            pass
        assert store.read(id).next_attempt == NOW

    def test_postponing_never_makes_it_earlier(self, store: Store) -> None:
        id = put(store)
        record(store, id, results(NOW, b=NOW + 900))
        with store.lease(id) as lease:
            lease.postpone(NOW + 300)
        assert due(store) == {id: NOW + 900}

    def test_a_result_ends_the_postponement_once_nobody_is_overdue(self, store: Store) -> None:
        id = put(store, ONE, TWO)
        with store.lease(id) as lease:
            lease.postpone(NOW + 300)
            lease.record(results(NOW + 1, b=NOW + 60))
            assert due(store) == {id: NOW + 300}  # the other is still being tried
            lease.record(results(NOW + 2, c=NOW + 120))
            assert due(store) == {id: NOW + 60}
        assert due(store) == {id: NOW + 60}

    # --- looking around ---

    def test_ids_come_oldest_first_and_by_state(self, store: Store) -> None:
        ids = [put(store, now=NOW + n) for n in range(5)]
        record(store, ids[1], results(NOW, b="delivered"))
        record(store, ids[3], results(NOW, b=NOW + 300))
        assert list(store.ids(STATES)) == ids
        assert list(store.ids(["queued"])) == [ids[0], ids[2], ids[4]]
        assert list(store.ids(FINAL)) == [ids[1]]
        assert store.count(UNFINISHED) == 4

    def test_entries_are_what_read_gives_in_the_order_asked_for(self, store: Store) -> None:
        ids = [put(store, now=NOW + n, submitter="ann") for n in range(3)]
        ids.append(put(store, ONE, TWO, now=NOW + 3))
        record(store, ids[0], results(NOW, b=NOW + 300), event("held", NOW + 1))
        record(store, ids[2], results(NOW, b="delivered"))
        record(store, ids[3], results(NOW, b="delivered", c=NOW + 300))
        for asked in (ids, ids[::-1], [NOBODY, ids[1], "", ids[1], "../queued/x", ids[3]]):
            assert list(store.entries(asked)) == [store.read(id) for id in asked if id in ids]
        assert list(store.entries([])) == []

    def test_an_entry_is_read_when_it_is_asked_for(self, store: Store) -> None:
        ids = [put(store, now=NOW + n) for n in range(4)]
        record(store, ids[2], results(NOW, b="failed"))
        entries = store.entries(store.ids(STATES))
        assert next(entries) == store.read(ids[0])
        record(store, ids[1], results(NOW, b="delivered"))  # which moves it
        store.purge(ids[2])
        record(store, ids[3], results(NOW, b=NOW + 300))
        assert list(entries) == [store.read(ids[1]), store.read(ids[3])]

    def test_what_finished_since_comes_in_the_order_in_which_it_did(self, store: Store) -> None:
        ids = [put(store, now=NOW + n) for n in range(3)]
        for when, id in ((NOW + 30, ids[0]), (NOW + 10, ids[1]), (NOW + 20, ids[2])):
            record(store, id, results(when, b="delivered" if id != ids[2] else "failed"))
        assert list(store.finished_since(NOW + 10)) == [ids[1], ids[2], ids[0]]
        assert list(store.finished_since(NOW + 10.5)) == [ids[2], ids[0]]
        assert list(store.finished_since(NOW + 31)) == []

    def test_a_message_is_found_by_what_a_person_has_of_it(self, store: Store) -> None:
        first = put(store, message_id="<one@example.org>")
        second = put(store, now=NOW + 1e6, message_id="<two@example.org>")
        again = put(store, now=NOW + 2e6, message_id="<one@example.org>")
        assert store.find(first) == store.find(first.upper()) == first
        assert store.find(second[:12]) == second
        assert store.find(second[-8:]) == second
        assert store.find("<two@example.org>") == store.find("two@example.org") == second
        assert store.find("<one@example.org>") == again

    def test_a_name_of_several_messages_names_the_candidates(self, store: Store) -> None:
        ids = [put(store, now=NOW) for _ in range(3)]
        with pytest.raises(MailstromError) as refused:
            store.find(ids[0][:9])
        assert all(id in refused.value.message for id in ids)

    @pytest.mark.parametrize(
        "name", ["", "06h", NOBODY, NOBODY[:8], "<no@example.org>", "../../etc", "iiii", "a/b@c"]
    )
    def test_a_name_of_no_message_is_not_found(self, store: Store, name: str) -> None:
        put(store)
        with pytest.raises(NoSuchMessage) as missed:
            store.find(name)
        assert ("at least 4 characters" in str(missed.value.hint)) == (name == "06h")

    @pytest.mark.parametrize("id", ["", NOBODY, "../queued/x", "A" * 16, "i" * 16])
    def test_no_method_knows_an_id_that_is_none(self, store: Store, id: str) -> None:
        for method in (store.read, store.events, store.open_message, store.lease, store.purge):
            with pytest.raises(NoSuchMessage):
                method(id)

    # --- forgetting ---

    def test_only_what_is_final_and_free_is_purged(self, store: Store) -> None:
        id = put(store)
        with pytest.raises(MailstromError, match="queued"):
            store.purge(id)
        record(store, id, results(NOW, b="failed"))
        with store.lease(id), pytest.raises(MailstromError, match="in use") as refused:
            store.purge(id)
        assert refused.value.exit_code == TEMPORARY
        store.purge(id)
        with pytest.raises(NoSuchMessage):
            store.read(id)
        assert store.count(STATES) == 0

    def test_a_sweep_removes_what_is_past_its_retention(self, store: Store) -> None:
        ids = [put(store, now=NOW + n) for n in range(6)]
        told = {0: "delivered", 1: "delivered", 2: "failed", 3: "failed"}
        for n, status in told.items():
            record(store, ids[n], results(NOW + 100 * (n + 1), b=status))
        record(store, ids[4], results(NOW, b=NOW + 300))
        assert store.sweep(NOW + 1000, NOW + 150, NOW + 350) == 2
        assert list(store.ids(STATES)) == [ids[1], *ids[3:]]
        assert store.sweep(NOW + 1000, NOW + 150, NOW + 350) == 0

    def test_a_sweep_leaves_what_is_leased(self, store: Store) -> None:
        id = put(store)
        record(store, id, results(NOW, b="delivered"))
        with store.lease(id):
            assert store.sweep(NOW, NOW + 1, NOW + 1) == 0
        assert store.sweep(NOW, NOW + 1, NOW + 1) == 1

    # --- beside messages ---

    @pytest.mark.parametrize(
        "hop", ["example.net", "smtp://[::1]:2525", "../../x", ".", "a/b", "x" * 500, "bücher.example"]
    )
    def test_the_state_of_a_next_hop_is_kept_until_forgotten(self, store: Store, hop: str) -> None:
        assert store.host(hop) is None
        store.set_host(hop, HostState(1, NOW, "refused"))
        store.set_host(hop, HostState(2, NOW + 60, "refused \u2028 again"))
        assert store.host(hop) == HostState(2, NOW + 60, "refused \u2028 again")
        assert store.host(hop + "0") is None
        store.set_host(hop, None)
        store.set_host(hop, None)
        assert store.host(hop) is None

    @pytest.mark.parametrize("name", ["example.net", "../../x", ".", "", "x y", "x" * 500, "bücher.example"])
    def test_a_note_is_kept_until_forgotten(self, store: Store, name: str) -> None:
        assert store.note("policy", name) is None
        store.set_note("policy", name, Note("old", NOW))
        store.set_note("policy", name, Note('new\r\n\u2028"', NOW + 60))
        assert store.note("policy", name) == Note('new\r\n\u2028"', NOW + 60)
        assert store.note("policy", name + "0") is None and store.note("other", name) is None
        store.set_note("policy", name, None)
        store.set_note("policy", name, None)
        assert store.note("policy", name) is None

    def test_notes_are_listed_by_kind(self, store: Store) -> None:
        assert list(store.notes("policy")) == []
        for name in ("a.example", "x" * 500):
            store.set_note("policy", name, Note(name[0], NOW))
            store.set_note("policy of another", name, Note("another", NOW))
        assert sorted(store.notes("policy")) == [("a.example", Note("a", NOW)), ("x" * 500, Note("x", NOW))]
        assert len(list(store.notes("policy of another"))) == 2

    def test_a_note_is_as_long_as_is_promised_and_no_longer(self, store: Store) -> None:
        longest = "\x01" * NOTE_OCTETS  # nothing takes more room in JSON
        store.set_note("policy", "a", Note(longest, NOW))
        assert store.note("policy", "a") == Note(longest, NOW)
        with pytest.raises(ValueError, match="too long"):
            store.set_note("policy", "a", Note(longest + "x", NOW))
        assert store.note("policy", "a") == Note(longest, NOW)

    def test_a_note_is_swept_when_nobody_needs_it(self, store: Store) -> None:
        store.set_note("policy", "old", Note("a", NOW))
        store.set_note("policy", "new", Note("b", NOW + 100))
        assert store.sweep(NOW + 1, 0, 0) == 1
        assert list(store.notes("policy")) == [("new", Note("b", NOW + 100))]

    def test_a_mark_tells_what_it_was(self, store: Store) -> None:
        assert store.mark("recent") is None
        assert store.mark("recent", NOW) is None
        assert store.mark("recent", NOW + 0.125) == NOW
        assert store.mark("recent") == NOW + 0.125
        assert store.mark("a/other") is None

    # --- waking ---

    def test_nobody_is_told_when_nobody_listens(self, store: Store) -> None:
        assert store.wake("flush") is False
        fd = store.listen()
        assert store.wake("flush") is True
        os.close(fd)
        assert store.wake("flush") is False

    def test_a_listener_is_woken_by_lines_and_by_intake(self, store: Store) -> None:
        fd = store.listen()
        try:
            readable = select.poll()
            readable.register(fd, select.POLLIN)
            assert readable.poll(0) == []
            store.wake("flush")
            id = put(store)
            assert [held for held, _ in readable.poll(5000)] == [fd]
            assert os.read(fd, 4096) == f"flush\n{id}\n".encode()
            with pytest.raises(BlockingIOError):
                os.read(fd, 4096)
        finally:
            os.close(fd)

    def test_a_listener_that_does_not_read_stops_nobody(self, store: Store) -> None:
        fd = store.listen()
        try:
            for _ in range(10_000):
                if not store.wake("x" * 400):
                    break
            else:
                pytest.fail("the trigger never fills")
            assert is_id(put(store))
        finally:
            os.close(fd)

    def test_what_is_no_line_is_not_told(self, store: Store) -> None:
        for line in ("a\nb", "x" * 600):
            with pytest.raises(ValueError, match="line"):
                store.wake(line)

    def test_one_has_the_run_lock_and_the_other_learns_who(self, store: Store) -> None:
        lock, other = store.run_lock(), store.run_lock()
        assert lock.acquire() is None
        told = other.acquire()
        assert told is not None
        assert told.startswith(f"pid {os.getpid()}, since 20")
        assert other.acquire() == told
        other.release()
        assert store.run_lock().acquire() == told
        lock.release()
        assert other.acquire() is None
        other.release()
