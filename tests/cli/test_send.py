"""`mailstrom send`: what it writes, what it refuses, and what a server and a reader make of it."""

from __future__ import annotations

import email
import email.policy
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from mailstrom_cli.api import Mailstrom
from mailstrom_cli.cli.options import SEND
from mailstrom_cli.store.ids import is_id

from ..peers.needs import need
from ..peers.scripted import Script, ScriptedServer
from .conftest import MESSAGE, Done

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage
    from pathlib import Path

    from mailstrom_cli.store.entry import Entry

    Run = Callable[..., Done]

LEAST = ["-f", "j@example.org", "-t", "a@example.net", "-s", "test"]
BINARY = "application/octet-stream"
VALUED = [option for option in SEND if option.metavar and option.names[-1] != "--wait"]


def entry(done: Done) -> Entry:
    assert done.code == 0, done.err
    return Mailstrom.open().entry(done.out.strip())


def message(done: Done) -> EmailMessage:
    with Mailstrom.open().message(entry(done).id) as file:
        return email.message_from_bytes(file.read(), policy=email.policy.default)


def test_a_text_becomes_a_message_in_the_queue(process: Run) -> None:
    done = process("send", *LEAST, input=b"all well\n")
    assert done.err == ""
    assert is_id(done.out.removesuffix("\n"))
    sent = message(done)
    assert [sent[name] for name in ("From", "To", "Subject")] == ["j@example.org", "a@example.net", "test"]
    assert sent["Date"] and sent["Message-ID"]
    assert sent.get_content() == "all well\r\n"
    assert entry(done).envelope.reverse_path == "j@example.org"


def test_everything_at_once(process: Run, tmp_path: Path) -> None:
    (tmp_path / "Übersicht für März.pdf").write_bytes(b"%PDF-1.4\n\xff\x00")
    (tmp_path / "m.eml").write_bytes(MESSAGE)
    (tmp_path / "a.html").write_text("<p>Grüße</p>\n", encoding="utf-8")
    done = process(
        "send", "--from", "Jörg Müller <j@example.org>", "--to", '"Doe, Jo" <d@example.net>, e@example.net',
        "--to", "f@example.net", "--cc", "g@example.net", "--bcc", "h@example.net",
        "--reply-to", "r@example.org", "--subject", "Übersicht",
        "--attach", str(tmp_path / "Übersicht für März.pdf"),
        "--attach", str(tmp_path / "m.eml"), "--html", str(tmp_path / "a.html"), "--header", "X-A: 1",
        "--header", "x-a:2", input="Grüße\n".encode(),
    )  # fmt: skip
    sent = message(done)
    assert sent["From"].addresses[0].display_name == "Jörg Müller"
    assert [a.addr_spec for a in sent["To"].addresses] == ["d@example.net", "e@example.net", "f@example.net"]
    assert sent["To"].addresses[0].display_name == "Doe, Jo"
    assert (sent["Cc"], sent["Bcc"], sent["Reply-To"]) == ("g@example.net", None, "r@example.org")
    assert (sent["Subject"], sent.get_all("X-A")) == ("Übersicht", ["1", "2"])
    assert [r.address for r in entry(done).recipients] == [f"{name}@example.net" for name in "defgh"]
    body, pdf, eml = sent.iter_parts()
    assert [part.get_content() for part in body.iter_parts()] == ["Grüße\r\n", "<p>Grüße</p>\r\n"]
    assert (pdf.get_filename(), pdf.get_content_type()) == ("Übersicht für März.pdf", "application/pdf")
    assert pdf.get_content() == b"%PDF-1.4\n\xff\x00"
    assert eml.get_content_type() == "message/rfc822"
    assert eml.get_content()["Subject"] == "test"


def test_the_delivery_options_are_those_of_submit(process: Run) -> None:
    before = time.time()
    done = process(
        "send", *LEAST, "--at", "+1h", "--expires", "2d", "--notify", "success,delay", "--ret", "hdrs",
        "--envid", "e-1", "--key", "k", "--require-tls",
    )  # fmt: skip
    envelope = entry(done).envelope
    assert envelope.at == pytest.approx(before + 3600, abs=30)
    assert envelope.expires == pytest.approx(before + 3600 + 2 * 86400, abs=30)
    assert (envelope.ret, envelope.envid, envelope.key) == ("hdrs", "e-1", "k")
    assert envelope.requiretls
    assert envelope.recipients[0].notify == ("success", "delay")


def test_the_same_key_and_message_give_the_same_id(process: Run, eml: Callable[..., str]) -> None:
    line = ["send", *LEAST, "--key", "k", "--attach", eml("a.bin"), "--html", eml("b.html")]
    first = process(*line, input=b"one\n")
    assert process(*line, input=b"one\n") == first
    other = process(*line, input=b"another\n")
    assert (other.code, other.out) == (65, "")


def test_json_tells_what_submit_tells(process: Run) -> None:
    done = process("send", *LEAST, "--json", "--bcc", "b@example.net")
    told = json.loads(done.out)
    assert told["recipients"] == ["a@example.net", "b@example.net"]
    assert is_id(told["id"]) and told["file"] is None


# --- who ---


def test_without_from_the_author_is_the_login_at_the_origin(process: Run) -> None:
    import pwd

    done = process("send", "-t", "a@example.net", "-s", "x", MAILSTROM_ORIGIN="example.org")
    assert message(done)["From"] == f"{pwd.getpwuid(os.getuid()).pw_name}@example.org"


def test_without_from_and_origin_there_is_a_hint(process: Run) -> None:
    done = process("send", "-t", "a@example.net", "-s", "x")
    assert (done.code, done.out) == (64, "")
    assert "hint: name the author with --from ADDRESS, or set `origin`" in done.err


def test_bare_names_are_completed_or_replaced_by_their_aliases(process: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('origin = "example.org"\n[aliases]\nroot = "ops@example.net"\n', encoding="utf-8")
    done = process("--config", str(config), "send", "-f", "joe", "-t", "root", "--cc", "ann", "-s", "x")
    assert [r.address for r in entry(done).recipients] == ["ops@example.net", "ann@example.org"]
    assert [message(done)[name] for name in ("From", "Cc")] == ["joe@example.org", "ann@example.org"]


def test_bcc_alone_names_nobody(process: Run) -> None:
    done = process("send", "-f", "j@example.org", "--bcc", "a@example.net", "-s", "x")
    assert message(done)["To"] == "undisclosed-recipients:;"
    assert b"a@example.net" not in message(done).as_bytes()
    assert [r.address for r in entry(done).recipients] == ["a@example.net"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["-t", "a@example.net"], "--subject is missing"),
        (["-s", "x"], "the message has no recipients"),
        (["-s", "x", "-t", "a"], "--to: `a` has no domain"),
        (["-s", "x", "-t", ""], "--to: it names no address"),
        (["-s", "x", "-t", "Team: a@example.net;"], "--to: a group starts or ends at character 5"),
        (["-s", "x", "--cc", "a@-.example"], "--cc: the domain `-.example`"),
        (["-s", "x", "--bcc", "a b@example.net"], "--bcc: "),
        (["-s", "x", "-t", "a@example.net", "-f", ""], "--from: it names no address"),
        (
            ["-s", "x", "-t", "a@example.net", "-f", "b@example.org, c@example.org"],
            "--from: a message has one",
        ),
        (
            ["-s", "x", "-t", "a@example.net", "--reply-to", "Müller, J <j@example.org>"],
            "--reply-to: `Müller`",
        ),
    ],
)
def test_a_wrong_address_is_told_by_its_option(here: Run, line: list[str], told: str) -> None:
    line = line if "-f" in line else ["-f", "j@example.org", *line]
    done = here("send", *line)
    assert (done.code, done.out) == (64, "")
    assert told in done.err
    assert "hint: " in done.err


# --- what must not get in ---


@pytest.mark.parametrize("option", VALUED, ids=lambda option: option.names[-1])
@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\x1b", "\t", "\x7f", "\x85"])
def test_no_option_takes_a_control_character(here: Run, option: Any, control: str) -> None:
    if option.choices:
        done = here("send", *LEAST, option.names[-1], f"{option.choices[0]}{control}Bcc: x@example.net")
        assert (done.code, done.out) == (64, "")
        return
    done = here("send", *LEAST, option.names[-1], f"X-A: a@example.net{control}Bcc: x@example.net")
    assert (done.code, done.out) == (64, "")
    assert "contains a" in done.err
    assert f"--{option.dest}: the value" in done.err.replace("reply-to", "reply_to")


@pytest.mark.parametrize(
    ("field", "hint"),
    [("To", "use --to"), ("Cc", "use --cc"), ("BCC", "use --bcc"), ("from", "use --from"),
     ("Return-Path", "use --from"), ("Reply-To", "use --reply-to"), ("SUBJECT", "use --subject"),
     ("MIME-Version", "--attach"), ("Content-Type", "--attach"), ("Content-Transfer-Encoding", "--attach"),
     ("content-x", "--attach"), ("Resent-To", "mailstrom submit")],
)  # fmt: skip
def test_a_header_that_another_option_makes_is_refused(here: Run, field: str, hint: str) -> None:
    done = here("send", *LEAST, "--header", f"{field}: x@example.net")
    assert (done.code, done.out) == (64, "")
    assert f"--header: `{field}` is not set here" in done.err
    assert hint in done.err.splitlines()[1]


@pytest.mark.parametrize(
    "text",
    [
        "X-A",
        "",
        ":",
        ": x",
        "X A: x",
        "X-A : x",
        "Bcc : x@example.net",
        "Ä: x",
        "X-A:",
        "X-A:  ",
        "x" * 61 + ": x",
    ],
)
def test_a_header_without_a_good_name_or_a_value_is_refused(here: Run, text: str) -> None:
    done = here("send", *LEAST, "--header", text)
    assert (done.code, done.out) == (64, "")
    assert "--header: " in done.err


def test_a_field_that_stands_once_is_not_given_twice(here: Run) -> None:
    done = here("send", *LEAST, "--header", "References: <a@b>", "--header", "references: <c@d>")
    assert (done.code, "--header: a message has `references` once" in done.err) == (64, True)


# --- texts and files ---


@pytest.mark.parametrize("text", [b"one\ntwo \xff\n", b"\xfc", "ü".encode("utf-16")])
def test_a_text_that_is_not_utf_8_is_refused(process: Run, text: bytes) -> None:
    done = process("send", *LEAST, input=text)
    assert (done.code, done.out) == (65, "")
    assert f"error: stdin: line {2 if b'one' in text else 1} is not UTF-8" in done.err
    assert "hint: convert it" in done.err


def test_a_nul_is_no_text(process: Run) -> None:
    done = process("send", *LEAST, input=b"a\0b")
    assert (done.code, "stdin: a NUL is in it" in done.err) == (65, True)


@pytest.mark.parametrize("text", [b"", b"\n", b"x" * 5000, b".\n..\n", b"From x\n", b"a\r\nb\rc"])
def test_a_text_of_any_form_arrives(process: Run, text: bytes) -> None:
    content = message(process("send", *LEAST, input=text)).get_content()
    assert content.splitlines() == (text.decode().splitlines() or [""])


def test_html_alone(process: Run, eml: Callable[..., str]) -> None:
    for done in (
        process("send", *LEAST, "--html", eml("a.html", b"<p>a</p>\n")),
        process("send", *LEAST, "--html", "-", input=b"<p>a</p>\n"),
    ):
        sent = message(done)
        assert (sent.get_content_type(), sent.get_content()) == ("text/html", "<p>a</p>\r\n")


def test_html_that_is_not_utf_8_is_told_by_its_file(process: Run, eml: Callable[..., str]) -> None:
    done = process("send", *LEAST, "--html", eml("a.html", b"<p>\n\xfc"))
    assert done.code == 65
    assert "a.html: line 2 is not UTF-8" in done.err


@pytest.mark.parametrize(
    ("name", "type"),
    [("a.pdf", "application/pdf"), ("a.txt", "text/plain"), ("a.PNG", "image/png"),
     ("a.tar.gz", "application/gzip"), ("a.txt.xz", BINARY), ("a", BINARY), ("a.eml", "message/rfc822"),
     ("a.mht", BINARY), ("data:text,a.png", "image/png"), (".html", BINARY)],
)  # fmt: skip
def test_the_type_is_told_by_the_name(process: Run, tmp_path: Path, name: str, type: str) -> None:
    (tmp_path / name).write_bytes(MESSAGE)
    _, part = message(process("send", *LEAST, "-a", str(tmp_path / name))).iter_parts()
    assert (part.get_content_type(), part.get_filename()) == (type, name)


@pytest.mark.parametrize(
    ("path", "reason"), [("/nowhere/a", "No such file"), ("/", "Is a directory"), ("-", "stdin")]
)
def test_a_file_that_cannot_be_attached_is_named(process: Run, path: str, reason: str) -> None:
    done = process("send", *LEAST, "--attach", path)
    assert done.out == ""
    assert done.code == (64 if path == "-" else 66)
    assert "error: --attach" in done.err
    assert path == "-" or f"--attach {path}: cannot be read: {reason}" in done.err


def test_what_is_too_large_is_told_before_anything_is_made_of_it(process: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(40_000))
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    for names, told in ((["huge"], "huge"), (["a", "a"], "a")):
        line = [word for name in names for word in ("-a", str(tmp_path / name))]
        done = process("send", *LEAST, *line, MAILSTROM_LIMITS_MESSAGE_SIZE="100KiB")
        assert (done.code, done.out) == (65, "")
        assert f"--attach {tmp_path / told}: with it the message has more than 102400 octets" in done.err
        assert "message_size" in done.err
    text = process("send", *LEAST, input=bytes(200_000), MAILSTROM_LIMITS_MESSAGE_SIZE="100KiB")
    assert (text.code, "stdin: with it" in text.err) == (65, True)


def test_a_large_file_arrives(process: Run, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "a.bin").write_bytes(data)
    _, part = message(process("send", *LEAST, "-a", str(tmp_path / "a.bin"))).iter_parts()
    assert part.get_content() == data


# --- all the way ---


@pytest.mark.parametrize("eight_bit", [True, False])
def test_a_server_gets_what_was_given(process: Run, tmp_path: Path, eight_bit: bool) -> None:
    (tmp_path / "Größe.eml").write_bytes(MESSAGE + "ä\n".encode())
    with ScriptedServer(Script(eight_bit=eight_bit, smtputf8=False)) as server:
        done = process(
            "send", "-f", "Jörg <j@example.org>", "-t", "good@example.net", "--bcc", "good2@example.net",
            "-s", "Größe", "-a", str(tmp_path / "Größe.eml"), "--wait", input="Grüße\n.\n".encode(),
            MAILSTROM_VIA=f"smtp://{server.host}:{server.port}",
        )  # fmt: skip
        assert (done.code, done.err) == (0, "")
        assert [address for address, _ in server.delivered()] == ["good2@example.net", "good@example.net"]
        assert server.violations == []
        octets = server.message()
    assert eight_bit or octets.isascii()
    assert b"good2" not in octets
    sent = email.message_from_bytes(octets, policy=email.policy.default)
    text, attached = sent.iter_parts()
    assert (sent["Subject"], text.get_content()) == ("Größe", "Grüße\r\n.\r\n")
    assert attached.get_filename() == "Größe.eml"


@pytest.mark.parametrize(("to", "code"), [("unknown@example.net", 69), ("busy@example.net", 75)])
@pytest.mark.usefixtures("receiver")
def test_wait_tells_what_became_of_it(process: Run, to: str, code: int) -> None:
    done = process("send", "-f", "j@example.org", "-t", to, "-s", "x", "--wait")
    assert done.code == code
    assert to in done.err


def test_mutt_shows_subject_names_and_files(process: Run, tmp_path: Path) -> None:
    mutt = need("mutt")
    name = "Übersicht für den März, sehr lang, damit es mehr als ein Stück gibt.pdf"
    (tmp_path / name).write_bytes(b"%PDF")
    inbox, desk = tmp_path / "inbox", tmp_path / "desk"
    desk.mkdir()
    done = process(
        "send", "-f", '"Müller, Jörg" <j@example.org>', "-t", "a@example.net", "-s", "Größe =?x?= – 日本語",
        "-a", str(tmp_path / name), "--wait", input="Grüße\n".encode(), MAILSTROM_VIA=f"maildir://{inbox}",
    )  # fmt: skip
    assert done.code == 0, done.err
    config = tmp_path / "muttrc"
    config.write_text(
        'set charset="utf-8" folder="." record="" pipe_decode=yes wait_key=no\n'
        "unignore *\nignore date message-id\n"
        'push "|cat >shown<enter><view-attachments><last-entry><save-entry><enter>qx"\n',
        encoding="utf-8",
    )
    subprocess.run(
        [need("script"), "-qec", f"{mutt} -n -F {config} -f {inbox}", "/dev/null"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TERM": "vt100", "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)},
        cwd=desk,
        timeout=30,
        check=False,
    )
    shown = (desk / "shown").read_text(encoding="utf-8")
    assert "Subject: Größe =?x?= – 日本語" in shown
    assert 'From: "Müller, Jörg" <j@example.org>' in shown
    assert "Grüße" in shown
    assert (desk / name).read_bytes() == b"%PDF"
