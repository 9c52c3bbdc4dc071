"""What is run: a spool, a server, messages, and one command among them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailstrom_cli.api import Mailstrom, Request
from mailstrom_cli.config.schema import Timeout
from mailstrom_cli.mail.status import STATES
from mailstrom_cli.store.intake import MANY
from tests.peers.dialogue import Connection
from tests.peers.scripted import Script, ScriptedServer

from .halt import HERE, LARGE, MAILSTROM

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TIMEOUT = "5s"
CONFIG = """\
helo_name = "client.example.test"
via = "smtp://127.0.0.1:{port}"
[retry]
base_delay = "5m"
jitter = 0
[smtp.timeout]
""" + "".join(f'{stage} = "{TIMEOUT}"\n' for stage in Timeout.__annotations__)
SECONDS = 30.0
"""The longest that a command may take, whatever fails."""


class Gathered(Connection):
    """Answers the commands that came together in one packet, as Postfix does: how often a client reads is
    then no matter of chance."""

    _held = b""

    def send(self, data: bytes) -> None:
        self._held += data
        if not self.buffer:
            self._let_go()

    def more(self) -> None:
        self._let_go()
        super().more()

    def _let_go(self) -> None:
        held, self._held = self._held, b""
        if held:
            super().send(held)


class Sink(ScriptedServer):
    """Where all mail goes. Recipients are answered by their local part (`tests/peers/answers.py`)."""

    connection = Gathered

    def quiet(self) -> None:
        """Wait until whatever a client left on the way has arrived."""
        self.wait(lambda sink: all(s.end != "open" for s in sink.sessions), what="connections to end")


@dataclass(frozen=True)
class Letter:
    """A message of ours. size: about how many octets."""

    name: str
    to: tuple[str, ...]
    size: int = 0

    @property
    def message_id(self) -> str:
        return f"<{self.name}@example.org>"

    @property
    def octets(self) -> bytes:
        """As it is given, and as it has to arrive."""
        line = "A line that is long enough for some to make a message of this size.\r\n"
        return (
            "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nFrom: ann@example.org\r\n"
            f"To: {', '.join(self.to)}\r\nMessage-ID: {self.message_id}\r\nSubject: {self.name}\r\n\r\n"
            f"Hello\r\n.dot\r\n{line * (self.size // len(line))}"
        ).encode()

    def ends(self, recipient: str) -> str:
        """What has to become of it for a recipient in the end."""
        assert recipient in self.to
        return "failed" if recipient.startswith("reject") else "delivered"


@dataclass(frozen=True)
class Scenario:
    """A command, and what it meets.

    before: letters that were accepted.  given: those that the command submits, on stdin if it is one, else as
    files.  during: those that are submitted while it runs.  repeats: whether it does the same for each of
    many, so that of calls that look alike only the first and the last are failed.  made: whether there is a
    spool.  up: whether the server can be reached.  floor: the points that there are at the least.
    """

    name: str
    words: tuple[str, ...]
    floor: int
    before: tuple[Letter, ...] = ()
    given: tuple[Letter, ...] = ()
    during: tuple[Letter, ...] = ()
    repeats: bool = False
    made: bool = True
    up: bool = True

    @property
    def command(self) -> str:
        return self.words[0]

    @property
    def letters(self) -> tuple[Letter, ...]:
        return (*self.before, *self.given, *self.during)


def _letters(*names: str) -> tuple[Letter, ...]:
    return tuple(Letter(name, (f"{name}@example.net",)) for name in names)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("submit", ("submit", "--key", "k"), 120, given=_letters("bob"), made=False),
        Scenario("submit-files", ("submit",), 65, given=_letters("bob", "eve", "dan")),
        Scenario(
            "submit-many",
            ("submit",),
            400,
            given=_letters(*(f"bob{n}" for n in range(MANY))),
            repeats=True,
        ),
        Scenario("submit-long", ("submit",), 35, given=(Letter("bob", ("bob@example.net",), 300_000),)),
        Scenario(
            "flush",
            ("flush",),
            220,
            before=(
                *_letters("bob"),
                Letter("two", ("cat@example.net", "greylist@example.net")),
                *_letters("reject", "dan"),
            ),
        ),
        Scenario("flush-down", ("flush",), 130, before=_letters("bob", "eve"), up=False),
        Scenario("run", ("run",), 110, before=_letters("bob"), during=_letters("eve")),
    )
}


@dataclass
class World:
    """A scenario on disk and on the wire, for one run of its command and what follows."""

    scenario: Scenario
    folder: Path
    sink: Sink = field(default_factory=lambda: Sink(Script()))
    accepted: dict[str, Letter] = field(default_factory=dict)
    """By id: what was accepted before and beside the command."""

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def __enter__(self) -> World:
        self.folder.mkdir(parents=True)
        self.sink.start()
        if not self.scenario.up:
            self.sink.stop()
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(port=self.sink.port))
        config.chmod(0o600)
        if self.scenario.made:
            self.submit(self.scenario.before)
        for letter in self.scenario.given:
            self.file(letter).write_bytes(letter.octets)
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.stop()

    def file(self, letter: Letter) -> Path:
        return self.folder / f"{letter.name}.eml"

    def mail(self) -> Mailstrom:
        return Mailstrom.open(str(self.folder / "config.toml"), str(self.spool))

    def submit(self, letters: Iterable[Letter]) -> None:
        """Have these accepted, in this process."""
        mail = self.mail()
        try:
            for letter in letters:
                self.accepted[mail.submit(letter.octets, Request()).id] = letter
            _ = mail.store  # made, also without any letter
        finally:
            mail.store.close()

    def flush(self) -> None:
        """What `mailstrom flush --all` does, in this process. Raises MailstromError."""
        mail = self.mail()
        try:
            mail.flush(everything=True)
        finally:
            mail.store.close()

    # --- commands ---

    def words(self, words: tuple[str, ...], letters: tuple[Letter, ...] = ()) -> list[str]:
        """A command line; letters: those that it submits."""
        program = LARGE if len(letters) >= MANY else MAILSTROM
        line = [*program, "--config", f"{self.folder}/config.toml", "--spool", str(self.spool), *words]
        return [*line, *(str(self.file(letter)) for letter in letters)]

    @property
    def environment(self) -> dict[str, str]:
        """The same for all runs, so that they make the same calls."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def call(
        self, words: tuple[str, ...], letters: tuple[Letter, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """A command without faults, to its end."""
        return subprocess.run(
            self.words(words, letters),
            cwd=HERE,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def lies(self, directory: str) -> set[str]:
        """The names in one of the spool's directories."""
        try:
            return set(os.listdir(self.spool / directory))
        except FileNotFoundError:
            return set()

    def settled(self) -> bool:
        """Whether there is something on record of each message that was accepted: it is delivered, or put
        off."""
        return all(self._settled(id) for id in self.accepted)

    def _settled(self, id: str) -> bool:
        for state in STATES:
            try:
                if (self.spool / state / id / "message.jsonl").read_bytes().count(b"\n") > 1:
                    return True
            except FileNotFoundError:
                continue
        return False
