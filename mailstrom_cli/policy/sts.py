"""MTA-STS (RFC 8461), as far as it is no I/O: what a domain's TXT record and its policy say."""

from __future__ import annotations

from mailstrom_cli.values import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENFORCE, TESTING, NONE = "enforce", "testing", "none"
LARGEST = 65_536  # octets of a policy (RFC 8461, 3.3)
LONGEST = 31_557_600  # seconds, about a year (3.2)
MEDIA_TYPE = "text/plain"
IDENTIFIER = 32  # characters at the most


@value
class Policy:
    """What a domain asks of who sends to it. mode: one of the three.  mx: patterns of host names, in lower
    case; a leading `*.` stands for one label.  max_age: seconds that it holds."""

    mode: str
    mx: tuple[str, ...]
    max_age: int

    def allows(self, host: str) -> bool:
        """Whether an MX host is one of its own (RFC 8461, 4.1)."""
        name = host.lower().rstrip(".")
        above = name.partition(".")[2]
        return name in self.mx or (above != "" and f"*.{above}" in self.mx)


@value
class Found:
    """What is known of a domain. policy: that which counts now.  failure: why there is none, or no newer one,
    as reports call it (RFC 8460, 4.3), "" where nothing has failed.  text: the same for people."""

    policy: Policy | None = None
    failure: str = ""
    text: str = ""


NOTHING = Found()
FETCH_ERROR, INVALID, UNTRUSTED = "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"


class NoPolicy(Exception):
    """What was given is no policy; the text says why."""


def record_name(domain: str) -> str:
    """Where the TXT record is."""
    return f"_mta-sts.{domain}"


def policy_host(domain: str) -> str:
    """The host that has the policy, at PATH."""
    return f"mta-sts.{domain}"


PATH = "/.well-known/mta-sts.txt"


def identifier(texts: Sequence[str]) -> str | None:
    """The `id` of the policy that a domain has now; None when it has none, which several records and one that
    is no record also mean (RFC 8461, 3.1). texts: all its TXT records."""
    records = [text for text in texts if text.partition(";")[0].rstrip(" \t") == "v=STSv1"]
    if len(records) != 1:
        return None
    for field in records[0].split(";")[1:]:
        name, _, held = field.partition("=")
        held = held.strip(" \t")
        if name.strip(" \t") == "id":
            good = held.isascii() and held.isalnum() and len(held) <= IDENTIFIER
            return held if good else None
    return None


def parse(octets: bytes) -> Policy:
    """The policy that a host has at PATH (RFC 8461, 3.2). Of a key that comes twice the first counts, and of
    `mx` all. Raises NoPolicy."""
    fields: dict[str, str] = {}
    mx: list[str] = []
    for key, held in _fields(octets):
        if key == "mx":
            mx.append(_pattern(held))
        else:
            fields.setdefault(key, held)
    if fields.get("version") != "STSv1":
        raise NoPolicy("the policy does not begin with version: STSv1")
    mode, age = fields.get("mode", ""), fields.get("max_age", "")
    if mode not in (ENFORCE, TESTING, NONE):
        raise NoPolicy("the policy has no mode that is known")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise NoPolicy("the policy has no max_age")
    if not mx and mode != NONE:
        raise NoPolicy("the policy names no mx")
    return Policy(mode, tuple(mx), min(int(age), LONGEST))


def _fields(octets: bytes) -> Iterator[tuple[str, str]]:
    """The lines of a policy. Some end in LF alone, and the last one need not end."""
    try:
        lines = octets.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise NoPolicy("the policy is not UTF-8") from None
    for number, line in enumerate(lines, 1):
        text = line.removesuffix("\r")
        key, colon, held = text.partition(":")
        if text.strip(" \t") and not (colon and key.strip(" \t")):
            raise NoPolicy(f"line {number} of the policy is no `key: value`")
        if colon:
            yield key.strip(" \t"), held.strip(" \t")


def _pattern(text: str) -> str:
    """A host name, or `*.` and a name. Raises NoPolicy."""
    pattern = text.lower().rstrip(".")
    name = pattern.removeprefix("*.")
    labels = name.split(".")
    good = all(label and label.isascii() and label.replace("-", "").isalnum() for label in labels)
    if not good or len(pattern) > 255:
        raise NoPolicy("the policy has an mx that is no host name")
    return pattern
