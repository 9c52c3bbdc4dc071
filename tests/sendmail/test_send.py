"""From stdin to the spool: recipients, senders, header, delivery at once, and every exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mailstrom_cli.net.receiver import Receiver

from ..peers.needs import need, need_root
from .conftest import MESSAGE, PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Front

TO_BOB = ["-f", "ann@example.org", "bob@example.net"]


# --- the end of the message ---


def test_a_line_of_one_dot_ends_the_message(front: Front) -> None:
    front(*TO_BOB, input=b"Subject: x\n\none\n..\n.two\n.\nthree\n")
    assert front.body == b"one\n..\n.two\n"


@pytest.mark.parametrize("flag", ["-i", "-oi", "-oitrue"])
def test_or_not(front: Front, flag: str) -> None:
    front(flag, *TO_BOB, input=b"Subject: x\n\none\n.\nthree\n")
    assert front.body == b"one\n.\nthree\n"


def test_the_message_ends_at_the_dot_while_stdin_stays_open(front: Front) -> None:
    process = subprocess.Popen([*PROGRAM, *TO_BOB], stdin=subprocess.PIPE, env=front.env)
    assert process.stdin is not None
    process.stdin.write(b"Subject: x\n\none\n.\n")
    process.stdin.flush()
    assert process.wait(30) == 0
    process.stdin.close()
    assert front.body == b"one\n"


def test_every_kind_of_line_end_becomes_one(front: Front) -> None:
    front("-i", *TO_BOB, input=b"Subject: x\r\n\r\none\rtwo\nthree\r\n")
    with front.mail.message(front.only().id) as file:
        assert file.read().partition(b"\r\n\r\n")[2] == b"one\r\ntwo\r\nthree\r\n"


# --- recipients ---


def test_t_takes_all_destinations_and_the_arguments(front: Front) -> None:
    front(
        "-t",
        "-f",
        "ann@example.org",
        "eve@example.com",
        input=b"To: a@example.net\nCc: b@example.net\nBcc: c@example.net\n\n",
    )
    assert front.recipients == ["a@example.net", "b@example.net", "c@example.net", "eve@example.com"]
    assert b"c@example.net" not in front.message()


def test_t_can_take_the_arguments_off(front: Front) -> None:
    message = b"To: a@example.net, b@example.net\nCc: c@example.net\n\n"
    off = ("B@example.net", "b@EXAMPLE.net", "<c@example.net>")
    front("-t", *off, input=message, MAILSTROM_SENDMAIL_T_ARGS="remove")
    assert front.recipients == ["a@example.net"]


def test_without_t_the_header_names_nobody_and_bcc_is_taken_out_all_the_same(front: Front) -> None:
    front(
        "bob@example.net",
        input=b"To: a@example.net\nBcc: c@example.net,\n\td@example.net\n"
        b"Resent-From: f@example.org\nResent-Bcc: e@example.net\n\n",
    )
    assert front.recipients == ["bob@example.net"]
    assert front.field("To") == "a@example.net"
    assert b"cc:" not in front.message().lower()
    assert b"d@example.net" not in front.message()


def test_the_resent_fields_alone_count_where_there_are_some(front: Front) -> None:
    front(
        "-t",
        input=b"Resent-From: ann@example.org\nResent-To: r@example.net\nResent-Bcc: s@example.net\n"
        b"From: x@example.com\nTo: a@example.net\nCc: b@example.net\n\n",
    )
    assert front.recipients == ["r@example.net", "s@example.net"]
    assert b"s@example.net" not in front.message()


def test_the_members_of_a_group_count(front: Front) -> None:
    front("-t", input=b"To: friends: a@example.net, b@example.net;, c@example.net\n\n")
    assert front.recipients == ["a@example.net", "b@example.net", "c@example.net"]


@pytest.mark.parametrize(
    "message",
    [b"To: undisclosed-recipients:;\n\nHello\n", b"Subject: x\n\nHello\n", b"Hello\n", b""],
    ids=["group", "none", "no header", "nothing"],
)
def test_t_without_a_recipient_is_an_error_of_usage(front: Front, message: bytes) -> None:
    done = front("-t", input=message, expect=64)
    assert "no recipient" in done.err
    assert front.entries() == []


def test_t_with_a_recipient_that_cannot_be_read_is_an_error_of_the_message(front: Front) -> None:
    done = front("-t", input=b"To: a@example.net, b@\n\n", expect=65)
    assert "line 1: field `To`" in done.err
    assert front.entries() == []


def test_without_an_address_nothing_is_read(front: Front) -> None:
    process = subprocess.Popen([*PROGRAM, "-i"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=front.env)
    assert process.wait(30) == 64
    assert process.stderr is not None and process.stdin is not None
    assert b"no recipient" in process.stderr.read()
    process.stdin.close()
    process.stderr.close()
    assert not front.dead_letter.exists()


def test_bare_names_are_completed_in_envelope_and_header(front: Front) -> None:
    front("-f", "www", "-t", "-i", input=b"From: ann\nTo: bob, Root <root>\n\n")
    entry = front.only()
    assert entry.envelope.reverse_path == "www@home.test"
    assert front.recipients == ["bob@home.test", "root@home.test"]
    assert (front.field("From"), front.field("To")) == (
        "ann@home.test",
        "bob@home.test, Root <root@home.test>",
    )


def test_without_an_origin_this_host_is_one(front: Front) -> None:
    front("-f", "www", "root", MAILSTROM_ORIGIN="", MAILSTROM_HELO_NAME="mail.example.org")
    assert front.only().envelope.reverse_path == "www@mail.example.org"
    front.env["MAILSTROM_ORIGIN"] = ""
    front("-f", "www", "root")
    sender = front.entries()[1].envelope.reverse_path
    assert sender.startswith("www@") and len(sender) > 4


ALIASES = {"MAILSTROM_ALIASES": "root=ops@example.org,admins=root,admins=ann@example.org"}


def test_aliases_are_for_bare_names_alone(front: Front) -> None:
    front("-f", "root", "ROOT", "root@example.com", "other", **ALIASES)
    assert front.recipients == ["ops@example.org", "root@example.com", "other@home.test"]
    assert front.only().envelope.reverse_path == "root@home.test"


def test_aliases_are_for_the_header_too(front: Front) -> None:
    front("-t", input=b"To: admins\n\n", **ALIASES)
    assert sorted(front.recipients) == ["ann@example.org", "ops@example.org"]


def test_submit_has_the_same_aliases_and_otherwise_wants_an_origin(front: Front) -> None:
    submit = [sys.executable, "-m", "mailstrom_cli", "submit"]
    front("-t", "root", program=submit, MAILSTROM_ORIGIN="", **ALIASES)
    assert front.recipients == ["ops@example.org"]
    done = front("-t", "daemon", program=submit, expect=64, MAILSTROM_ORIGIN="", **ALIASES)
    assert "`daemon` has no domain" in done.err


# --- the sender and From ---


@pytest.mark.parametrize("null", [["-f", ""], ["-f", "<>"], ["-f<>"], ["-r", "<>"]])
def test_the_null_sender(front: Front, null: list[str]) -> None:
    front(*null, "bob@example.net")
    assert front.only().envelope.reverse_path == ""


def test_the_null_sender_is_not_in_a_from_that_is_added(front: Front) -> None:
    front("-f", "<>", "bob@example.net", input=b"Subject: x\n\n")
    assert front.field("From") == f"Carol Caller <{front.only().envelope.submitter}@home.test>"


def test_the_sender_is_the_caller_unless_told(front: Front) -> None:
    front("bob@example.net")
    entry = front.only()
    assert entry.envelope.reverse_path == f"{entry.envelope.submitter}@home.test"


@pytest.mark.parametrize(
    ("name", "from_"),
    [
        ("Ann Other", "Ann Other <ann@example.org>"),
        ("Ann (Other)", '"Ann (Other)" <ann@example.org>'),
        ('Ann "A" Other', r'"Ann \"A\" Other" <ann@example.org>'),
        ("Ann, Bob", '"Ann, Bob" <ann@example.org>'),
        ("", "ann@example.org"),
    ],
)
def test_a_missing_from_has_the_name_of_the_option(front: Front, name: str, from_: str) -> None:
    front("-F", name, *TO_BOB, input=b"Subject: x\n\n")
    assert front.field("From") == from_


def test_a_name_beyond_ascii_is_encoded(front: Front) -> None:
    from email.header import decode_header, make_header

    name = "Jörg " + "Ünverständlich " * 6 + "日本"
    front("-F", name, *TO_BOB, input=b"Subject: x\n\n")
    held = front.field("From")
    assert held is not None and held.isascii()
    assert str(make_header(decode_header(held))) == f"{name} <ann@example.org>"


def test_or_that_of_the_environment(front: Front) -> None:
    front(*TO_BOB, input=b"Subject: x\n\n")
    assert front.field("From") == "Carol Caller <ann@example.org>"


def test_a_from_that_is_there_stays(front: Front) -> None:
    front("-F", "Somebody Else", *TO_BOB)
    assert front.field("From") == "Ann <ann@example.org>"


def test_text_without_a_header_is_a_body(front: Front) -> None:
    front(*TO_BOB, input=b"Hello Bob: how are you\nBye\n")
    assert front.body == b"Hello Bob: how are you\nBye\n"
    assert front.field("From") == "Carol Caller <ann@example.org>"


def test_text_that_follows_the_header_at_once_is_a_body(front: Front) -> None:
    front(*TO_BOB, input=b"Subject: x\nHello Bob\nBye: now\n")
    assert front.body == b"Hello Bob\nBye: now\n"
    assert front.field("Subject") == "x"


def test_nothing_at_all_is_a_message_without_a_body(front: Front) -> None:
    front(*TO_BOB, input=b"")
    assert front.body == b""


def test_an_mbox_separator_is_dropped(front: Front) -> None:
    front(*TO_BOB, input=b"From ann Tue Nov 24 07:00:00 2026\nSubject: x\n\nHello\n")
    assert front.message().startswith(b"Subject: x\n")


# --- what the envelope asks for ---


def test_dsn_parameters(front: Front) -> None:
    front("-N", "success,delay", "-R", "hdrs", "-V", "id-1", *TO_BOB)
    entry = front.only()
    assert (entry.envelope.ret, entry.envelope.envid) == ("hdrs", "id-1")
    assert entry.recipients[0].recipient.notify == ("success", "delay")


@pytest.mark.parametrize("asked", ["yes", "no"])
def test_requiretls(front: Front, asked: str) -> None:
    front("-O", f"requiretls={asked}", *TO_BOB)
    assert front.only().envelope.requiretls is (asked == "yes")


def test_verp_sends_to_each_from_an_address_of_its_own(front: Front) -> None:
    front("-XV", "-f", "list@example.org", "a@example.net", "b@example.net")
    sent = [(e.envelope.reverse_path, [r.address for r in e.recipients]) for e in front.entries()]
    assert sorted(sent) == [
        ("list+a=example.net@example.org", ["a@example.net"]),
        ("list+b=example.net@example.org", ["b@example.net"]),
    ]


def test_verp_that_one_recipient_makes_impossible_stores_nothing(front: Front) -> None:
    front("-XV", "-f", "list@example.org", "a@example.net", f"{'b' * 60}@example.net", expect=64)
    assert front.entries() == []


# --- when it is delivered ---


@pytest.mark.parametrize("flags", [[], ["-odb"], ["-odq"], ["-odd"], ["-odi", "-odq"]])
def test_a_message_waits_for_run_or_flush(front: Front, flags: list[str]) -> None:
    front(*flags, *TO_BOB, MAILSTROM_VIA=f"maildir://{front.folder}/mail")
    assert front.only().state == "queued"


@pytest.mark.parametrize("flag", ["-odi", "-odf"])
def test_or_is_delivered_at_once(front: Front, flag: str) -> None:
    with Receiver() as server:
        host, port = server.address
        front(flag, "-f", "ann@example.org", "good@example.net", MAILSTROM_VIA=f"smtp://{host}:{port}")
    assert front.only().state == "delivered"


def test_deferred_at_once_is_no_failure(front: Front) -> None:
    done = front("-odi", *TO_BOB, MAILSTROM_VIA="smtp://127.0.0.1:1")
    assert front.only().state == "deferred"
    assert done.err == ""


def test_refused_at_once_is_no_failure(front: Front) -> None:
    with Receiver() as server:
        host, port = server.address
        front("-odi", "-f", "ann@example.org", "unknown@example.net", MAILSTROM_VIA=f"smtp://{host}:{port}")
    assert front.only().state == "failed"


def test_q_tries_everything(front: Front) -> None:
    front("-odi", *TO_BOB, MAILSTROM_VIA="smtp://127.0.0.1:1")
    front("-q", MAILSTROM_VIA=f"maildir://{front.folder}/mail")
    assert front.only().state == "delivered"


@pytest.mark.parametrize(
    ("pick", "delivered"),
    [
        (["-qRexample.COM"], {"c@example.com"}),
        (["-qR", "example"], {"b@example.net", "c@example.com"}),
        (["-qSeve@"], {"c@example.com"}),
        (["-qRnobody"], set()),
    ],
)
def test_q_tries_what_matches(front: Front, pick: list[str], delivered: set[str]) -> None:
    front("-f", "ann@example.org", "b@example.net")
    front("-f", "eve@example.org", "c@example.com")
    front(*pick, MAILSTROM_VIA=f"maildir://{front.folder}/mail")
    assert {r.address for e in front.entries() for r in e.recipients if r.status == "delivered"} == delivered


def test_q_tries_one_id(front: Front) -> None:
    for to in ("b@example.net", "c@example.net"):
        front("-f", "ann@example.org", to)
    first, second = front.entries()
    front(f"-qI{second.id}", MAILSTROM_VIA=f"maildir://{front.folder}/mail")
    assert [e.state for e in front.entries()] == ["queued", "delivered"]
    assert "no message" in front("-qI", "zzzzzzzzzzzzzzzz", expect=66).err
    assert first.id != second.id


# --- the other modes ---


def test_bv_tells_where_mail_would_go_and_stores_nothing(front: Front) -> None:
    done = front("-bv", "root", "bob@example.net", input=b"not read", **ALIASES)
    assert (
        done.out
        == "ops@example.org... deliverable: mx:example.org\nbob@example.net... deliverable: mx:example.net\n"
    )
    assert front.entries() == []


def test_bv_tells_what_is_no_address_and_goes_on(front: Front) -> None:
    done = front("-bv", "a b", "bob@example.net", expect=64)
    assert "a space" in done.err
    assert done.out == "bob@example.net... deliverable: mx:example.net\n"


def test_bv_t_reads_the_message(front: Front) -> None:
    done = front(
        "-bv", "-t", input=b"To: b@example.net\nBcc: c@example.com\n\n", MAILSTROM_VIA="smtp://127.0.0.1:25"
    )
    assert done.out.splitlines() == [
        "b@example.net... deliverable: smtp://127.0.0.1",
        "c@example.com... deliverable: smtp://127.0.0.1",
    ]
    assert front.entries() == []


@pytest.mark.parametrize("flag", ["-bi", "-I"])
def test_newaliases_does_nothing(front: Front, flag: str) -> None:
    assert front(flag, input=b"") == (0, "", "")
    assert not front.spool.exists()


def test_v_tells_the_id_and_the_fixes(front: Front) -> None:
    done = front("-v", *TO_BOB)
    assert f"note: stored as {front.only().id}\n" in done.err
    assert "field `Date`: added" in done.err
    assert done.out == ""


def test_without_v_nothing_is_told(front: Front) -> None:
    assert front(*TO_BOB) == (0, "", "")


def test_the_configuration_can_be_named(front: Front, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('origin = "example.com"\n')
    del front.env["MAILSTROM_ORIGIN"]
    front("-C", str(path), "bob")
    assert front.recipients == ["bob@example.com"]


def test_global_options_come_before_the_command(front: Front, tmp_path: Path) -> None:
    spool = tmp_path / "other"
    program = [sys.executable, "-m", "mailstrom_cli", "--spool", str(spool), "sendmail"]
    front(*TO_BOB, program=program)
    assert len(os.listdir(spool / "queued")) == 1
    assert not front.spool.exists()


# --- names ---


@pytest.mark.parametrize("module", ["mailstrom_cli.__main__", "mailstrom_cli.cli.sendmail.main"])
@pytest.mark.parametrize("name", ["sendmail", "send-mail", "mailq", "newaliases"])
def test_a_link_does_what_its_name_says(front: Front, tmp_path: Path, module: str, name: str) -> None:
    script = tmp_path / "installed"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
    script.chmod(0o755)
    link = tmp_path / name
    link.symlink_to(script)
    done = front(*(TO_BOB if name.startswith("send") else []), program=[str(link)])
    if name == "mailq":
        assert done.out == "Mail queue is empty\n"
    elif name == "newaliases":
        assert not front.spool.exists()
    else:
        assert front.recipients == ["bob@example.net"]


@pytest.mark.parametrize("name", ["mailstrom-sendmail", "mailstrom"])
def test_the_scripts_of_the_package(front: Front, name: str) -> None:
    from pathlib import Path

    script = str(Path(__file__).parents[2] / "mailstrom_cli/cli/scripts" / name)
    words = ["sendmail", *TO_BOB] if name == "mailstrom" else TO_BOB
    done = front(*words, program=[sys.executable, script])
    assert (done.code, front.recipients) == (0, ["bob@example.net"])


# --- exit codes ---


def test_exit_codes_of_what_is_wrong(front: Front, tmp_path: Path) -> None:
    front("-Z", expect=64)
    front(expect=64)
    front("a b", expect=64)
    front("--", "-f", expect=0)
    front("bob@example.net", input=b"Subject: a\nSubject: b\n\n", expect=65)
    front(
        "bob@example.net",
        input=b"Subject: x\n\n" + b"x" * 3000,
        expect=65,
        MAILSTROM_LIMITS_MESSAGE_SIZE="2KiB",
    )
    front("bob@example.net", expect=78, MAILSTROM_ORIGIN="a b")
    front("-C", str(tmp_path / "none.toml"), "bob@example.net", expect=78)


def test_an_unreadable_stdin_is_66(front: Front) -> None:
    fd = os.open(os.devnull, os.O_WRONLY)
    try:
        done = subprocess.run([*PROGRAM, *TO_BOB], stdin=fd, env=front.env, capture_output=True, check=False)
    finally:
        os.close(fd)
    assert done.returncode == 66
    assert b"cannot be read" in done.stderr


def test_a_bug_is_70_and_the_message_is_kept(front: Front, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import mailstrom_cli.mail.stamp\n"
        "def broken(*_): raise ZeroDivisionError('on purpose')\n"
        "mailstrom_cli.mail.stamp.date_time = broken\n"
    )
    path = os.pathsep.join([str(tmp_path), os.getcwd(), front.env.get("PYTHONPATH", "")])
    done = front(*TO_BOB, expect=70, PYTHONPATH=path)
    assert "ZeroDivisionError" in done.err
    assert b"Hello" in front.dead_letter.read_bytes()


def test_a_spool_that_others_may_write_is_77(front: Front) -> None:
    front.spool.mkdir()
    front.spool.chmod(0o777)
    front(*TO_BOB, expect=77)
    assert b"Hello" in front.dead_letter.read_bytes()


@pytest.mark.parametrize(("env", "code"), [({}, 71), ({"MAILSTROM_SENDMAIL_NOT_STORED_EXIT": "75"}, 75)])
def test_nothing_stored_has_an_exit_code_of_its_own(front: Front, env: dict[str, str], code: int) -> None:
    done = front(*TO_BOB, expect=code, MAILSTROM_LIMITS_MIN_FREE="1000000GB", **env)
    assert "it was not stored" in done.err
    assert front.entries() == []


def test_a_spool_that_cannot_be_made_is_71(front: Front) -> None:
    (front.folder / "file").write_bytes(b"")
    done = front(*TO_BOB, expect=71, MAILSTROM_SPOOL=str(front.folder / "file" / "spool"))
    assert "error:" in done.err
    assert b"Hello" in front.dead_letter.read_bytes()


def test_a_full_disk_is_71(front: Front, tmp_path: Path) -> None:
    need_root()
    unshare = need("unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=64k none {disk} && "$@"; code=$?; ls -R {disk}/spool/queued; exit $code'
    done = front(
        *TO_BOB,
        input=MESSAGE + (b"x" * 79 + b"\n") * 1000,
        program=[unshare, "-m", "sh", "-c", script, "sh", *PROGRAM],
        expect=71,
        MAILSTROM_SPOOL=str(disk / "spool"),
    )
    assert "No space left" in done.err
    assert "message.eml" not in done.out
    assert front.dead_letter.stat().st_size > 80_000


def test_input_without_an_end_is_refused_in_bounded_memory(front: Front) -> None:
    script = 'ulimit -v 400000; yes "endless" | "$@"'
    done = front(
        "-i",
        *TO_BOB,
        program=["bash", "-c", script, "sh", *PROGRAM],
        expect=65,
        MAILSTROM_LIMITS_MESSAGE_SIZE="8MiB",
    )
    assert "larger than" in done.err
    assert not front.dead_letter.exists()


def test_a_large_message_goes_through_a_file_of_its_own(front: Front) -> None:
    line = b"x" * 99 + b"\n"
    front(*TO_BOB, input=MESSAGE + line * 50_000 + b".\nnot this\n")
    assert front.only().envelope.size > 5_000_000
    assert front.body == b"Hello\n" + line * 50_000


def test_many_at_once_are_all_stored(front: Front) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: front("-f", f"s{n}@example.org", "bob@example.net"), range(24)))
    assert [d.code for d in done] == [0] * 24
    assert {e.envelope.reverse_path for e in front.entries()} == {f"s{n}@example.org" for n in range(24)}
