"""Programs that know nothing of mailstrom send mail through /usr/sbin/sendmail, and a real Postfix gets it.

The front lies at /usr/sbin/sendmail only for them: they run in a mount namespace of their own.
"""

from __future__ import annotations

import email
import email.policy
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ..peers.needs import lacking, need, need_root
from ..peers.process import find, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage
    from pathlib import Path

    from ..peers.maildir import Delivery
    from ..peers.postfix import Postfix
    from .conftest import Installation

SENDMAIL = "/usr/sbin/sendmail"
FRONT = """\
#!{python}
import os
import sys
os.environ.setdefault("MAILSTROM_CONFIG", {config!r})
from mailstrom_cli.cli.sendmail.main import main
sys.exit(main())
"""
TEXT = "Grüße an alle,\n.\nbis bald\n"


class Machine:
    """A machine whose sendmail is mailstrom's, and whose mail goes to `server`."""

    def __init__(self, mailstrom: Installation, server: Postfix, folder: Path) -> None:
        need_root()
        self.unshare = need("unshare")
        if subprocess.run([self.unshare, "-m", "true"], capture_output=True, check=False).returncode:
            lacking("this root may not have a mount namespace of its own")
        if not os.path.exists(SENDMAIL):
            lacking(f"there is no {SENDMAIL} to put the front in the place of (Debian package postfix)")
        self.mailstrom, self.server, self.folder = mailstrom, server, folder
        mailstrom.configure(
            f'via = "smtp://{server.host}:{server.port}"',
            'origin = "example.test"',
            "[limits]",
            "min_free = 0",
        )
        self.home = folder / "home"
        self.home.mkdir()
        self.front = folder / "front"
        self.front.write_text(FRONT.format(python=sys.executable, config=str(mailstrom.config)))
        self.front.chmod(0o755)
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        self.env = {**kept, "HOME": str(self.home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "dumb"}

    def __call__(
        self, *command: str, input: str = "", mounts: str = "", cwd: Path | None = None, expect: int = 0
    ) -> str:
        """Run a program there to its end; what it prints. `mounts`: further commands of the shell before."""
        done = subprocess.run(
            self.inside(*command, mounts=mounts),
            input=input.encode(),
            capture_output=True,
            env=self.env,
            cwd=cwd or self.folder,
            timeout=120,
            check=False,
        )
        told = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == expect, told
        return told

    def inside(self, *command: str, mounts: str = "") -> list[str]:
        script = f'set -e\nmount --bind "$0" {SENDMAIL}\n{mounts}\nexec "$@"'
        return [self.unshare, "-m", "sh", "-c", script, str(self.front), *command]

    def has_mail(self) -> bool:
        """Whether anything was stored so far."""
        return (self.mailstrom.spool / "queued").exists() and bool(self.mailstrom.ids("queued"))

    def delivered(self, count: int = 1) -> list[Delivery]:
        """What arrives at the server once the queue is flushed, by recipient."""
        self.mailstrom("flush")
        return sorted(self.server.mailbox.wait(count), key=lambda d: d.recipient)


@pytest.fixture
def machine(mailstrom: Installation, postfix: Callable[..., Postfix], tmp_path: Path) -> Machine:
    return Machine(mailstrom, postfix(["example.test"]), tmp_path)


def read(delivery: Delivery) -> EmailMessage:
    message = email.message_from_bytes(delivery.original, policy=email.policy.default)
    assert message["Bcc"] is None
    assert message["Date"] and message["Message-ID"]
    assert [part.defects for part in message.walk()] == [[] for _ in message.walk()]
    return message


def text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return body.get_content()


def test_git_send_email(machine: Machine) -> None:
    git = need("git")
    if "send-email" not in machine(git, "--list-cmds=main,others").split():
        lacking("git has no send-email (Debian package git-email)")
    repository = machine.folder / "repository"
    repository.mkdir()
    machine.env["GIT_CONFIG_NOSYSTEM"] = "1"
    for line in (
        ["init", "-q"],
        ["config", "user.name", "Änn Other"],
        ["config", "user.email", "ann@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):
        machine(git, *line, cwd=repository)
    (repository / "file").write_text("From here\n.\nGrüße\n")
    machine(git, "add", "file", cwd=repository)
    machine(git, "commit", "-q", "-m", "Zwei: Grüße\n\nbody", cwd=repository)
    options = ("--confirm=never", "--suppress-cc=all", "--8bit-encoding=UTF-8", "--envelope-sender=auto")
    to = ("--to=bob@example.test", "--cc=carol@example.test", "--bcc=eve@example.test")
    machine(git, "send-email", *options, *to, "-1", cwd=repository)
    deliveries = machine.delivered(3)
    assert [d.recipient for d in deliveries] == ["bob@example.test", "carol@example.test", "eve@example.test"]
    assert {d.reverse_path for d in deliveries} == {"ann@example.org"}
    assert len({d.original for d in deliveries}) == 1
    message = read(deliveries[0])
    assert (message["Subject"], message["To"]) == ("[PATCH] Zwei: Grüße", "bob@example.test")
    assert message["From"] == "Änn Other <ann@example.org>"
    # The patch that arrives is one that git applies.
    mbox = machine.folder / "arrived"
    mbox.write_bytes(b"From x Thu Jan  1 00:00:00 1970\n" + deliveries[0].original)
    machine(git, "reset", "-q", "--hard", "HEAD~1", cwd=repository)
    machine(git, "am", "-q", str(mbox), cwd=repository)
    assert (repository / "file").read_text() == "From here\n.\nGrüße\n"


def test_mutt(machine: Machine) -> None:
    mutt = need("mutt")
    attached = machine.folder / "attached.bin"
    attached.write_bytes(bytes(range(256)))
    settings = (
        "set from='Änn <ann@example.org>' use_envelope_from=yes dsn_notify='failure,delay' dsn_return=hdrs"
    )
    options = ("-s", "Grüße", "-b", "eve@example.test", "-a", str(attached), "--", "bob@example.test")
    machine(mutt, "-n", "-F", "/dev/null", "-e", settings, *options, input=TEXT)
    (queued,) = machine.mailstrom("queue", "--json").stdout.splitlines()
    sidecar = json.loads(machine.mailstrom("show", "--sidecar", json.loads(queued)["id"]).stdout)
    assert (sidecar["ret"], sidecar["recipients"][0]["notify"]) == ("hdrs", ["failure", "delay"])
    bob, eve = machine.delivered(2)
    assert (bob.recipient, eve.recipient, bob.reverse_path) == (
        "bob@example.test",
        "eve@example.test",
        "ann@example.org",
    )
    message = read(bob)
    assert (message["Subject"], message["From"], text(message)) == ("Grüße", "Änn <ann@example.org>", TEXT)
    assert [part.get_content() for part in message.iter_attachments()] == [bytes(range(256))]


def test_s_nail(machine: Machine) -> None:
    s_nail = need("s-nail")
    machine.env |= {"MAILRC": "/dev/null", "DEAD": str(machine.home / "dead")}  # else that is in root's home
    to = ("-c", "carol@example.test", "-b", "eve@example.test", "bob@example.test")
    machine(s_nail, "-n", "-s", "Grüße", "-r", "ann@example.org", *to, input=TEXT)
    deliveries = machine.delivered(3)
    assert [d.recipient for d in deliveries] == ["bob@example.test", "carol@example.test", "eve@example.test"]
    message = read(deliveries[0])
    assert (message["Subject"], message["Cc"], text(message)) == ("Grüße", "carol@example.test", TEXT)
    assert deliveries[0].reverse_path == "ann@example.org"


def test_bsd_mailx(machine: Machine) -> None:
    mailx = need("bsd-mailx")
    machine(mailx, "-n", "-s", "hello", "-b", "eve@example.test", "bob@example.test", input="one\n..\ntwo\n")
    bob, eve = machine.delivered(2)
    message = read(bob)
    assert (eve.recipient, message["Subject"], text(message)) == (
        "eve@example.test",
        "hello",
        "one\n..\ntwo\n",
    )
    assert bob.reverse_path == "root@example.test"
    assert message["From"].addresses[0].addr_spec == "root@example.test"


PHP = (
    'var_dump(mail("bob@example.test", "hello", "one\\n.\\ntwo\\n",'
    ' ["From" => "ann@example.org", "Bcc" => "eve@example.test"], $argv[1] ?? ""));'
)


def test_php(machine: Machine) -> None:
    php = need("php")
    assert machine(php, "-n", "-r", PHP, "--", "-fann@example.org").strip() == "bool(true)"
    bob, eve = machine.delivered(2)
    message = read(bob)
    assert (eve.recipient, bob.reverse_path) == ("eve@example.test", "ann@example.org")
    assert (message["Subject"], text(message)) == ("hello", "one\n.\ntwo\n\n")  # PHP adds a line end


def test_php_sees_that_nothing_was_stored(machine: Machine) -> None:
    php = need("php")
    assert machine(php, "-n", "-r", PHP).strip() == "bool(true)"
    spool = machine.mailstrom.spool
    read_only = f"mount --bind {spool} {spool}\nmount -o remount,bind,ro {spool}"
    full = f"mount -t tmpfs -o size=16k none {spool}"
    for mounts in (read_only, full):
        told = machine(php, "-n", "-r", PHP, mounts=mounts)
        assert "bool(false)" in told and "error:" in told, told
    assert machine.mailstrom("queue", "--count").stdout == "1\n"
    kept = (machine.home / "dead.letter").read_text()
    assert kept.count("Subject: hello") == 2


CRON = "MAILTO=bob@example.test\nSHELL=/bin/sh\n@reboot root echo 'from cron: Grüße'\n"


def test_cron(machine: Machine) -> None:
    cron = need("cron")
    table = machine.folder / "job"
    table.write_text(CRON)
    table.chmod(0o644)
    empty = machine.folder / "crontab"
    empty.write_text("")
    mounts = (
        f"mount --bind {empty} /etc/crontab\n"
        "for folder in /etc/cron.d /var/spool/cron/crontabs /run; do mount -t tmpfs none $folder; done\n"
        f"cp {table} /etc/cron.d/job"
    )
    process = subprocess.Popen(
        machine.inside(cron, "-f", mounts=mounts), env=machine.env, stdin=subprocess.DEVNULL
    )
    try:
        wait_for(machine.has_mail, 30, "cron to send mail")
    finally:
        process.terminate()
        process.wait(10)
    (delivery,) = machine.delivered(1)
    message = read(delivery)
    assert message["Subject"].startswith("Cron <root@") and "echo" in message["Subject"]
    assert message["From"].addresses[0].addr_spec == "root@example.test"
    assert b"From: root@example.test (Cron Daemon)\n" in delivery.original
    assert text(message) == "from cron: Grüße\n"
    assert delivery.reverse_path == "root@example.test"


def perl(module: str, package: str) -> str:
    program = find("perl") or lacking("perl is not installed (Debian package perl)")
    if subprocess.run([program, f"-M{module}", "-e1"], capture_output=True, check=False).returncode:
        lacking(f"there is no {module} for perl (Debian package {package})")
    return program


MIME_LITE = """
my $m = MIME::Lite->new(From => 'ann@example.org', To => 'bob@example.test', Bcc => 'eve@example.test',
  Subject => 'hello', Type => 'TEXT', Data => "one\n.\ntwo\n");
$m->send('sendmail') or die 'not sent';
"""


def test_mime_lite(machine: Machine) -> None:
    machine(perl("MIME::Lite", "libmime-lite-perl"), "-MMIME::Lite", "-e", MIME_LITE)
    bob, eve = machine.delivered(2)
    message = read(bob)
    assert (eve.recipient, message["Subject"], text(message)) == (
        "eve@example.test",
        "hello",
        "one\n.\ntwo\n",
    )


EMAIL_SENDER = """
use Email::Sender::Transport::Sendmail;
my $m = Email::Simple->create(
  header => [From => 'ann@example.org', To => 'bob@example.test', Subject => 'hello'],
  body => "one\n.\ntwo\n");
sendmail($m, { from => 'bounces@example.org', to => ['bob@example.test', 'eve@example.test'],
  transport => Email::Sender::Transport::Sendmail->new });
"""


def test_email_sender(machine: Machine) -> None:
    program = perl("Email::Sender::Simple", "libemail-sender-perl")
    machine(program, "-MEmail::Simple", "-MEmail::Sender::Simple=sendmail", "-e", EMAIL_SENDER)
    bob, eve = machine.delivered(2)
    assert (eve.recipient, bob.reverse_path) == ("eve@example.test", "bounces@example.org")
    assert text(read(bob)) == "one\n.\ntwo\n"


PYTHON = """
import subprocess
from email.message import EmailMessage
message = EmailMessage()
message["From"] = "Änn <ann@example.org>"
message["To"] = "bob@example.test"
message["Bcc"] = "eve@example.test"
message["Subject"] = "Grüße"
message.set_content("Grüße an alle,\\n.\\nbis bald\\n")
subprocess.run(["/usr/sbin/sendmail", "-t", "-oi"], input=message.as_bytes(), check=True)
"""


def test_the_recipe_of_python(machine: Machine) -> None:
    machine(sys.executable, "-c", PYTHON)
    bob, eve = machine.delivered(2)
    message = read(bob)
    assert (eve.recipient, message["From"], message["Subject"]) == (
        "eve@example.test",
        "Änn <ann@example.org>",
        "Grüße",
    )
    assert text(message) == TEXT


def test_outside_sendmail_is_what_it_was(machine: Machine) -> None:
    with open(SENDMAIL, "rb") as file:
        before = file.read()
    inside = machine("head", "-c", "2", SENDMAIL)
    assert inside == "#!"
    with open(SENDMAIL, "rb") as file:
        assert file.read() == before != machine.front.read_bytes()
