"""The command lines by which programs in the wild call sendmail, each with the message it pipes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from .conftest import MESSAGE

if TYPE_CHECKING:
    from .conftest import Front

CRON = (
    b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> true\nMIME-Version: 1.0\n"
    b"Content-Type: text/plain; charset=UTF-8\nX-Cron-Env: <SHELL=/bin/sh>\n\nout\n"
)
BCC = b"From: ann@example.org\nTo: bob@example.net\nBcc: eve@example.com,\n dan@example.com\n\nHello\n"
SMTP = (
    b"EHLO client\r\nMAIL FROM:<ann@example.org> BODY=8BITMIME\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
    + MESSAGE.replace(b"\n", b"\r\n")
    + b".\r\nQUIT\r\n"
)
LOGIN = "root@home.test"  # the caller, without -f
BOTH = ["bob@example.net", "eve@example.com", "dan@example.com"]


class Observed(NamedTuple):
    """A command line and stdin, and the envelope and header that come of them."""

    name: str
    line: list[str]
    input: bytes = MESSAGE
    sender: str = "ann@example.org"
    recipients: tuple[str, ...] = ("bob@example.net",)
    from_: str = "Ann <ann@example.org>"


CALLERS = [
    Observed("PHP mail()", ["-t", "-i"], BCC, LOGIN, tuple(BOTH), "ann@example.org"),
    Observed("PHP mail(), fifth argument", ["-t", "-i", "-fann@example.org"], BCC, recipients=tuple(BOTH),
             from_="ann@example.org"),
    Observed("PHPMailer", ["-oi", "-fann@example.org", "-t"]),
    Observed("Symfony", ["-bs"], SMTP),
    Observed("Symfony -t", ["-t", "-i", "-fann@example.org"]),
    Observed("Nodemailer", ["-i", "-f", "ann@example.org", "carol@example.net", "bob@example.net"],
             recipients=("carol@example.net", "bob@example.net")),
    Observed("Ruby mail", ["-i", "-f", "ann@example.org", "--", "bob@example.net"]),
    Observed("git send-email", ["-f", "ann@example.org", "-i", "bob@example.net",
             "carol@example.net"], recipients=("bob@example.net", "carol@example.net")),
    Observed("mutt", ["-oem", "-oi", "-B8BITMIME", "-f", "ann@example.org", "-N", "success,failure", "-R",
                      "hdrs", "--", "bob@example.net"]),
    Observed("vixie cron", ["-FCronDaemon", "-odi", "-oem", "-oi", "-t"], CRON, LOGIN,
             ("root@home.test",), "root@home.test (Cron Daemon)"),
    Observed("cronie", ["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"], CRON,
             "root@home.test", ("root@home.test",), "root@home.test (Cron Daemon)"),
    Observed("Debian cron", ["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"], CRON, LOGIN,
             ("root@home.test",), "root@home.test (Cron Daemon)"),
    Observed("anacron", ["-FAnacron", "-odi", "root"], b"Subject: Anacron job\n\nout\n", LOGIN,
             ("root@home.test",), "Anacron <root@home.test>"),
    Observed("reportbug", ["-f", "ann@example.org", "-oi", "-oem", "bob@example.net"]),
    Observed("Alpine -bs", ["-bs", "-odb", "-oem"], SMTP),
    Observed("Alpine -t", ["-oi", "-oem", "-t"], sender=LOGIN),
    Observed("fail2ban", ["-f", "ann@example.org", "bob@example.net"]),
    Observed("bsd-mailx", ["-i", "bob@example.net"], sender=LOGIN),
    Observed("s-nail", ["-i", "-r", "ann@example.org", "-v", "bob@example.net"]),
]  # fmt: skip


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_an_observed_command_line(front: Front, caller: Observed) -> None:
    # Mail for -odi goes into a maildir; the login is root's whoever runs the tests.
    env = {"MAILSTROM_VIA": f"maildir://{front.folder}/mail"}
    done = front(*caller.line, input=caller.input, **env)
    entry = front.only()
    login = front.mail.settings.origin
    assert entry.envelope.reverse_path == caller.sender.replace(LOGIN, f"{entry.envelope.submitter}@{login}")
    assert tuple(r.address for r in entry.recipients) == caller.recipients
    assert front.field("From") == caller.from_.replace(
        "Anacron <root@", f"Anacron <{entry.envelope.submitter}@"
    )
    assert (front.field("Bcc"), front.field("Date") is None, front.field("Message-ID") is None) == (
        None, False, False,
    )  # fmt: skip
    assert front.body == caller.input.replace(b"\r\n", b"\n").partition(b"\n\n")[2].partition(b".\nQUIT")[0]
    assert done.out == "" or "-bs" in caller.line
    if "-N" in caller.line:
        assert entry.recipients[0].recipient.notify == ("success", "failure")
        assert entry.envelope.ret == "hdrs"
    if "-odi" in caller.line:
        assert entry.state == "delivered"
