"""Invariant: any octets give a verdict, soon; what is accepted is clean, and stays the same when fixed again.

    python tests/fuzz/prepare.py SECONDS [SEED]

Messages are grown from what has gone wrong elsewhere: pieces of header syntax, of MIME and of addresses, put
together at random and then cut, doubled, and mutated. A message that breaks the invariant is printed and
written to fuzz-prepare-N.eml in the current directory; the exit code is 1 then. Not collected by pytest.
"""

from __future__ import annotations

import random
import re
import sys
import time
import traceback
from pathlib import Path

from mailstrom_cli.errors import MailstromError
from mailstrom_cli.mail.address import parse_mailbox
from mailstrom_cli.mail.prepare import Context, Request, check, prepare

NAMES = (
    "From|from |Sender|Reply-To|To|Cc|Bcc|BCC\t|Resent-Bcc|Resent-To|Resent-From|Resent-Date|Resent-Sender"
    "|Resent-Message-ID|Received|Return-Path|Date|Message-ID|In-Reply-To|References|Subject|Comments|Keywords"
    "|MIME-Version|Content-Type|Content-Transfer-Encoding|Content-Disposition|Content-Length|DKIM-Signature"
    "|ARC-Message-Signature|X-Any|List-Id|Content-Description|Disposition-Notification-To||\xff|a b|From x"
).encode("latin-1")
VALUES = (
    "a@example.org|Bob <b@example.net>|root|<x@y.example>||G: a@b.example;|nobody:;|(|)|((()))|\0|\x01|\x1b"
    '|ü@example.org|a@bücher.example|Jürgen <j@x.example>|"ü, b" <c@x.example>|(ü) a@x.example'
    '|"a b"@c.example'
    '|,,,|<>|a@b, c d|@|a@[192.0.2.1]|a@[IPv6:::1]|a@[x:y]|<@r.example:a@b.example>|\\|"'
    "|a.@b|a@b.|größer|ß|\u200d"
    "|=?utf-8?q?x?=|=?utf-8?b?w7w=?=|=?utf-8?q?=FF|=?x?y?z?=|=?|?=|Mon, 24 Nov 2026 02:43:00 +0000"
    "|24 Nov 26 02:43 GMT|31 Feb 2026 25:61:61 +9999|<a.b@c.example>|<a b>|<@>|1.0|text/plain; charset=utf-8"
    '|multipart/mixed; boundary=b|multipart/mixed; boundary="b|multipart/signed; boundary=b'
    "|message/rfc822|8bit"
    "|7bit|base64|quoted-printable|binary|v=1; h=from:to:subject:date:bcc; bh=x; b=y"
    "|h=mime-version:content-type;"
    "|h=|;=;|日本語|\ufeff|é́|a|b|.|:|;|<|>|[|]|x y z"
).encode()
PIECES = [*NAMES.split(b"|"), *VALUES.split(b"|"), b"\xff", b"\xc3", b"y" * 80, b"x" * 997, b"z" * 999]
ENDS = [b"\n", b"\r\n", b"\r", b"\n ", b"\r\n\t", b"\n\n", b"\r\n\r\n", b"\r\r\n", b" \n", b"\n \n ", b""]
BODIES = [
    b"text\n",
    b"\xc3\xbc\n",
    b"\xff\n",
    b"--b\n",
    b"--b--\n",
    b"\n.\n",
    b"..\r\n",
    b"From x\n",
    b"x" * 1200,
]
CONTEXTS = [
    Context(now=1795488180.5, token="abc123", host="mail.example.org"),
    Context(
        now=0.0, token="t", origin="example.org", timezone=-3600, aliases={"root": ("ops@x.example", "a")}
    ),
    Context(now=9e9, token="t", host="h", origin="bücher.example", aliases={"a": ("b",), "b": ("a",)}),
]
REQUESTS = [
    Request(),
    Request(reverse_path="s@example.org", recipients=("r@example.net",)),
    Request(reverse_path="", recipients=("root", "a", '"x y"@z.example')),
    Request(recipients=("r@example.net",), add_from="Jürgen <j@x.example>", key="k"),
]
SLOW = 2.0  # seconds, for some 100 kB at most


def message(chance: random.Random) -> bytes:
    pick = chance.choice
    lines: list[bytes] = []
    if chance.random() < 0.7:
        lines.append(b"From: " + pick(VALUES.split(b"|")) + pick(ENDS[:3]))
    for _ in range(chance.randrange(12)):
        value = b" ".join(pick(PIECES) for _ in range(chance.randrange(1, 5)))
        lines.append(pick(NAMES.split(b"|")) + pick([b":", b": ", b":", b" :", b""]) + value + pick(ENDS))
    text = b"".join(lines) + pick([b"", b"\n", b"\r\n", b"\n\n"])
    text += b"".join(
        pick(BODIES) if chance.random() < 0.7 else pick(PIECES) for _ in range(chance.randrange(5))
    )
    for _ in range(chance.choice([0, 0, 0, 1, 2, 5])):
        at = chance.randrange(len(text) + 1)
        upto = min(len(text), at + chance.randrange(30))
        change = chance.randrange(5)
        if change == 0:
            text = text[:at] + text[upto:]
        elif change == 1:
            text = text[:at] + pick(PIECES) + text[at:]
        elif change == 2:
            text = text[:upto] + text[at:]
        elif change == 3:
            text = text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        else:
            text = text[:at] + text[at:upto] * chance.randrange(2, 200) + text[upto:]
    return text


def verify(data: bytes, request: Request, context: Context) -> bool:
    """Whether the message is accepted. Raises AssertionError, or whatever a bug raises."""
    made, findings = check(data, request, context)
    for finding in findings:
        assert str(finding).isprintable(), "a finding that cannot be printed"
    try:
        assert prepare(data, request, context).envelope == (made and made.envelope), "two verdicts"
    except MailstromError as error:
        assert made is None, "two verdicts"
        assert error.message, "a refusal without a reason"
        return False
    assert made is not None
    sent = b"".join(made.chunks())
    assert made.envelope.size == len(sent), "the size is wrong"
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", sent), "a bare CR or LF, or a NUL"
    assert sent.endswith(b"\r\n"), "no line end at the end"
    assert max(map(len, sent.split(b"\r\n"))) <= 998, "a long line"
    head = sent.partition(b"\r\n\r\n")[0].lower()
    assert not re.search(rb"(?m)^(resent-)?bcc[ \t]*:", head), "a Bcc is left"
    assert made.envelope.smtputf8 or head.isascii(), "SMTPUTF8 is needed and not said"
    for address in (made.envelope.reverse_path, *[r.address for r in made.envelope.recipients]):
        assert not address or str(parse_mailbox(address)) == address, "an address that is not canonical"
    assert not set("\r\n\0") & set(made.envelope.message_id), "a control character in the Message-ID"
    explicit = Request("s@example.org", ("r@example.net",), add_from=request.add_from)
    again, found = check(sent, explicit, Context(now=7.0, token="other", origin=context.origin))
    assert not [f for f in found if f.severity == "refused"], "what was accepted is refused"
    assert again is not None
    assert b"".join(again.chunks()) == sent, "fixed again, it is another"
    return True


def main(seconds: float, seed: int) -> int:
    began, tried, accepted, faults, slowest = time.monotonic(), 0, 0, {}, 0.0
    while time.monotonic() - began < seconds:
        chance = random.Random(f"{seed}-{tried}")
        data, request, context = message(chance), chance.choice(REQUESTS), chance.choice(CONTEXTS)
        tried += 1
        start = time.monotonic()
        try:
            accepted += verify(data, request, context)
            took = time.monotonic() - start
            slowest = max(slowest, took)
            assert took < SLOW, f"it took {took:.1f} s for {len(data)} octets"
        except KeyboardInterrupt:
            break
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} {error!s:.60} ({Path(last.filename).name}:{last.lineno})"
            if kind not in faults:
                Path(f"fuzz-prepare-{len(faults)}.eml").write_bytes(data)
                print(
                    f"{kind}\n  seed {seed}-{tried - 1}: {data!r:.600}\n  {request}\n  {context}", flush=True
                )
            faults[kind] = faults.get(kind, 0) + 1
    print(f"{tried} messages, {accepted} accepted, slowest {slowest:.3f} s, {len(faults)} kinds of fault")
    for kind, times in faults.items():
        print(f"  {times} x {kind}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)))
