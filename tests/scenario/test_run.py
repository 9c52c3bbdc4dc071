"""The long-running flusher: wakes at once, stops gracefully, reloads, is one a spool; and flush beside it."""

from __future__ import annotations

import json
import signal
import socket
import time

import pytest

from ..peers.answers import Stall
from ..peers.process import free_port
from ..peers.scripted import Script

SUBMIT = ("-f", "ann@example.org", "-t", "bob@example.net")


def test_submit_wakes_run_at_once(mailstrom, scripted) -> None:
    server = scripted()
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    mailstrom.start()
    begun = time.monotonic()
    id = mailstrom.submit("--wait=20", *SUBMIT)
    assert time.monotonic() - begun < 5
    assert mailstrom.status(id)["status"] == "delivered"
    assert f"{id}: from=<ann@example.org> to=<bob@example.net> status=delivered" in mailstrom.log()


def test_submit_returns_while_no_server_is_reachable_and_the_mail_goes_out_when_one_comes(
    mailstrom, scripted
) -> None:
    port = free_port("127.0.0.1")
    mailstrom.configure(f'via = "smtp://127.0.0.1:{port}"')
    mailstrom.start()
    begun = time.monotonic()
    id = mailstrom.submit(*SUBMIT)
    assert time.monotonic() - begun < 5
    mailstrom.wait_until(lambda: mailstrom.status(id)["status"] == "deferred", 10, "the first attempt")
    (told,) = mailstrom.status(id)["recipients"]
    assert told["text"].endswith("Connection refused")
    assert told["attempts"] >= 1
    server = scripted(port=port)
    server.wait(lambda s: len(s.delivered()) == 1, 20, "the mail to go out")
    assert json.loads(mailstrom("status", "--wait=10", "--json", id).stdout)["status"] == "delivered"


def test_a_restart_changes_nothing_of_the_schedule(mailstrom, scripted) -> None:
    scripted_server = scripted()
    mailstrom.configure(
        f'via = "smtp://127.0.0.1:{scripted_server.port}"', '[retry]\nbase_delay = "1h"\njitter = 0'
    )
    id = mailstrom.submit("-f", "ann@example.org", "-t", "defer@example.net")
    mailstrom("flush")
    before = mailstrom.status(id)
    for _ in range(3):
        mailstrom("flush")
        process = mailstrom.start()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert mailstrom.status(id) == before
    assert len(scripted_server.transactions) == 1


def test_the_second_run_is_refused_with_who_is_first(mailstrom) -> None:
    process = mailstrom.start()
    done = mailstrom("run", expect=75)
    assert f"another `mailstrom run` serves this spool (pid {process.pid}, since " in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_finishes_the_transaction_in_hand(mailstrom, scripted, number) -> None:
    server = scripted(Script(replies={"dot": [Stall()]}))
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    process = mailstrom.start()
    id = mailstrom.submit(*SUBMIT)
    server.wait(lambda s: s.stalled == 1, 20, "the server to hold the reply back")
    process.send_signal(number)
    with pytest.raises(Exception, match="timed out"):
        process.wait(0.5)
    server.release()
    assert process.wait(20) == 0
    assert mailstrom.status(id)["status"] == "delivered"
    assert server.duplicates() == []


def test_a_second_signal_ends_it_now_and_loses_nothing(mailstrom, scripted) -> None:
    server = scripted(Script(replies={"mail": [Stall()]}))
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    process = mailstrom.start()
    id = mailstrom.submit(*SUBMIT)
    server.wait(lambda s: s.stalled == 1, 20, "the server to hold the reply back")
    process.send_signal(signal.SIGTERM)
    mailstrom.wait_until(lambda: "stopping" in mailstrom.log(), 20, "the first signal to be taken")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert mailstrom.status(id)["status"] == "queued"
    server.release()
    mailstrom("flush", id)
    assert mailstrom.status(id)["status"] == "delivered"


def test_hangup_reads_the_configuration_again_and_a_bad_one_changes_nothing(mailstrom, scripted) -> None:
    first, second = scripted(), scripted()
    mailstrom.configure(f'via = "smtp://127.0.0.1:{first.port}"')
    process = mailstrom.start()
    mailstrom.submit("--wait=20", *SUBMIT)
    assert len(first.delivered()) == 1

    good = mailstrom.config.read_text()
    mailstrom.config.write_text(good + "\n[retry\n")
    process.send_signal(signal.SIGHUP)
    mailstrom.wait_until(lambda: "configuration not reloaded" in mailstrom.log(), 20, "the refusal")

    mailstrom.configure(f'via = "smtp://127.0.0.1:{second.port}"')
    process.send_signal(signal.SIGHUP)
    mailstrom.wait_until(lambda: "configuration reloaded" in mailstrom.log(), 20, "the reload")
    mailstrom.submit("--wait=20", *SUBMIT)
    assert (len(first.delivered()), len(second.delivered())) == (1, 1)


def test_flush_beside_run_wakes_it_and_waits_for_its_pass(mailstrom, scripted) -> None:
    server = scripted(Script(recipients={"bob": ["450 4.2.0 not now"]}))
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"', '[retry]\nbase_delay = "1h"\njitter = 0')
    mailstrom.start()
    id = mailstrom.submit(*SUBMIT)
    mailstrom.wait_until(lambda: mailstrom.status(id)["status"] == "deferred", 20, "the first attempt")
    mailstrom("flush")
    assert mailstrom.status(id)["status"] == "deferred", "it is not due"
    mailstrom("flush", "--all")
    assert mailstrom.status(id)["status"] == "delivered"
    assert {s.peer for s in server.sessions} and server.duplicates() == []


def test_many_flushes_beside_run_deliver_each_message_once(mailstrom, scripted) -> None:
    server = scripted(Script(keep_bodies=False))
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    message = "From: ann@example.org\nTo: bob@example.net\nSubject: hi\n\nHello\n"
    box = mailstrom.config.parent / "box.mbox"
    box.write_text("".join(f"From ann Tue Nov 24 10:00:00 2026\n{message}\n" for _ in range(300)))
    import subprocess

    ids = mailstrom("submit", "--mbox", str(box)).stdout.split()
    assert len(ids) == 300
    flushes = [subprocess.Popen([*mailstrom.command, "flush"], stderr=subprocess.PIPE) for _ in range(4)]
    mailstrom.start()
    for flush in flushes:
        _, errors = flush.communicate(timeout=60)
        assert (flush.returncode, errors) == (0, b"")
    mailstrom.wait_until(lambda: len(mailstrom.ids("delivered")) == 300, 30, "everything to be delivered")
    assert len(server.delivered()) == 300
    assert server.duplicates() == []


def test_hold_release_cancel_and_retry_beside_run(mailstrom, scripted) -> None:
    server = scripted(Script(recipients={"bob": ["450 4.2.0 not now"]}))
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"', '[retry]\nbase_delay = "1h"\njitter = 0')
    mailstrom.start()
    id = mailstrom.submit(*SUBMIT)
    mailstrom.wait_until(lambda: mailstrom.status(id)["status"] == "deferred", 20, "the first attempt")
    mailstrom("hold", id)
    assert mailstrom.status(id)["held"] is True
    mailstrom("flush", "--all")
    assert len(server.transactions) == 1, "held mail is not tried"
    mailstrom("cancel", id)
    told = mailstrom.status(id)
    assert (told["status"], told["recipients"][0]["text"]) == ("failed", "cancelled")
    mailstrom("release", id)
    mailstrom("retry", id)
    server.wait(lambda s: len(s.delivered()) == 1, 20, "the retry")
    assert json.loads(mailstrom("status", "--wait=10", "--json", id).stdout)["status"] == "delivered"


def test_systemd_is_told(mailstrom, tmp_path, monkeypatch) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        process = mailstrom.start()
        assert manager.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert process.wait(20) == 0


def test_an_idle_run_makes_no_system_call(mailstrom) -> None:
    process = mailstrom.start()

    def switches() -> int:
        with open(f"/proc/{process.pid}/status") as status:
            return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)

    swept = mailstrom.spool / "marks" / "swept"
    mailstrom.wait_until(swept.exists, 20, "the sweep at the start to be over")
    before = switches()
    with pytest.raises(Exception, match="timed out"):
        process.wait(1.5)
    assert switches() - before <= 1


def test_what_a_server_has_taken_is_on_record_before_its_next_transaction(mailstrom, scripted) -> None:
    server = scripted(Script(replies={"dot": [None, None, Stall()]}))
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"', "[limits]\nrecipients_per_transaction = 1")
    process = mailstrom.start()
    to = [f"good{n}@example.net" for n in range(3)]
    id = mailstrom.submit("-f", "ann@example.org", *(word for address in to for word in ("-t", address)))
    server.wait(lambda s: s.stalled == 1, 20, "the server to hold the third reply back")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [mailstrom.recipients(id)[address]["status"] for address in to] == ["delivered"] * 2 + ["queued"]
    server.release()
    mailstrom("flush", id)
    assert mailstrom.status(id)["status"] == "delivered"
    assert {address for address, _ in server.duplicates()} <= {"good2@example.net"}


def test_flush_of_everything_beside_run_ends_when_the_next_hop_is_down(mailstrom) -> None:
    port = free_port("127.0.0.1")
    mailstrom.configure(f'via = "smtp://127.0.0.1:{port}"', '[retry]\nbase_delay = "1h"\njitter = 0')
    for _ in range(12):
        mailstrom.submit(*SUBMIT)
    mailstrom.start()
    mailstrom.wait_until(lambda: all(r["next"] for r in queued(mailstrom)), 20, "the first attempts")
    before = queued(mailstrom)
    mailstrom("flush", "--all", seconds=30)
    assert all(then["next"] != now["next"] for then, now in zip(before, queued(mailstrom), strict=True))


def queued(mailstrom) -> list[dict[str, str]]:
    """Each waiting message: when it is next tried, once that is not now."""
    found = []
    for line in mailstrom("queue", "--json").stdout.splitlines():
        told = json.loads(line)
        waits = told["next_attempt"] > told["submitted"]
        found.append({"id": told["id"], "next": told["next_attempt"] if waits else ""})
    return sorted(found, key=lambda row: row["id"])


def test_a_wait_with_a_limit_is_kept_to_without_a_run(mailstrom, scripted) -> None:
    server = scripted(Script(replies={"dot": [Stall()]}))
    mailstrom.configure(f'via = "smtp://127.0.0.1:{server.port}"')
    begun = time.monotonic()
    done = mailstrom("submit", "--wait=1", *SUBMIT, input="From: a@example.org\n\nhi\n", expect=75)
    assert time.monotonic() - begun < 8
    assert len(done.stdout.split()) == 1
    server.release()
