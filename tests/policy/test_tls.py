"""How much TLS a connection needs, and how its server has to prove who it is."""

from __future__ import annotations

from functools import partial

import pytest

from mailstrom_cli.config.schema import Tls, TlsPolicy
from mailstrom_cli.mail.envelope import Envelope, Recipient
from mailstrom_cli.policy.dane import Tlsa
from mailstrom_cli.policy.tls import (
    OPTIONAL,
    PLAIN,
    REQUIRED,
    Asked,
    Known,
    Protection,
    asked,
    by_dane,
    most_specific,
    needed,
    plain_text_instead,
    protection,
)
from mailstrom_cli.values import replace

LEVELS = ("none", "may", "encrypt", "verify", "dane")
RELAY = Known("relay.example.org")
MX = Known("mx.example.net", "example.com", signed=False)
SIGNED = Known("mx.example.net", "example.com", signed=True)
EE = Tlsa(3, 1, 1, b"k" * 32)
TA = Tlsa(2, 0, 1, b"a" * 32)
PKIX = Tlsa(1, 1, 1, b"p" * 32)
DOMAIN = ("example.com", "*.example.com")


def known(*tlsa: Tlsa, signed: bool = True, anchors: bool = True) -> Known:
    return Known("mx.example.net", "example.com", signed, "base.example.net", tlsa, anchors)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("implicit", [False, True])
def test_a_login_is_verified_whatever_was_asked(level: str, implicit: bool) -> None:
    told = protection(Asked(level), RELAY, implicit=implicit, login=True)
    assert (told.level, told.names, told.required) == ("verify", ("relay.example.org",), True)


WITHOUT = {"none": "none", "may": "may", "encrypt": "encrypt", "verify": "verify", "dane": "may"}


@pytest.mark.parametrize("level", LEVELS)
def test_without_a_login_what_was_asked_counts(level: str) -> None:
    told = protection(Asked(level), RELAY)
    assert told.level == WITHOUT[level]
    assert told.required is (level in ("encrypt", "verify"))
    assert (told == PLAIN) is (level == "none")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("how", ["implicit", "require_tls"])
def test_some_connections_are_never_plain_text(level: str, how: str) -> None:
    told = protection(Asked(level, floor=how == "require_tls"), RELAY, implicit=how == "implicit")
    assert told.level == ("verify" if level == "verify" else "encrypt")
    assert told.required


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("attempts", [0, 1, 5])
def test_plain_text_instead_only_for_may_and_from_the_second_attempt_on(level: str, attempts: int) -> None:
    assert plain_text_instead(level, attempts) is (level == "may" and attempts > 0)


# --- whose certificate it has to be ---


@pytest.mark.parametrize(
    ("host", "names"),
    [
        (RELAY, ("relay.example.org",)),
        (MX, DOMAIN),
        (SIGNED, ("mx.example.net", *DOMAIN)),
        (Known("192.0.2.1"), ("192.0.2.1",)),
    ],
    ids=["relay", "mx", "signed mx", "address"],
)
def test_a_certificate_is_for_what_nobody_could_forge(host: Known, names: tuple[str, ...]) -> None:
    assert protection(Asked("verify"), host).names == names
    match = protection(Asked("verify", match=("a.example", "*.b.example")), host)
    assert match.names == ("a.example", "*.b.example")


@pytest.mark.parametrize(
    ("host", "sni"), [(MX, "mx.example.net"), (Known("192.0.2.1"), ""), (Known("::1"), "")]
)
def test_the_server_is_told_a_name_and_never_an_address(host: Known, sni: str) -> None:
    assert protection(Asked("may"), host).sni == sni


def test_a_known_fingerprint_needs_no_name_and_no_authority() -> None:
    told = protection(Asked("verify", ca_file="/ca.pem", fingerprints=("ab",)), MX)
    assert told == Protection("verify", "mx.example.net", fingerprints=("ab",))


def test_files_are_only_for_those_who_use_them() -> None:
    files = Asked("may", ca_file="/ca.pem", only=True, client_cert="/c", client_key="/k")
    told = protection(files, MX)
    assert (told.ca_file, told.only, told.client_cert, told.client_key) == ("", False, "/c", "/k")


# --- DANE ---


def test_usable_records_decide_and_their_name_is_told() -> None:
    assert protection(Asked("dane"), known(EE, PKIX)) == Protection(
        "verify", "base.example.net", tlsa=(EE,), certain=True, policy="tlsa"
    )


def test_names_matter_for_an_authority_only() -> None:
    told = protection(Asked("dane"), known(TA, EE))
    assert told.names == ("base.example.net", "mx.example.net", *DOMAIN)
    assert told.tlsa == (TA, EE)


@pytest.mark.parametrize(
    "host", [known(PKIX), known(TA, anchors=False), known(Tlsa(3, 1, 1, b"short"))], ids=["pkix", "ta", "bad"]
)
def test_records_of_no_use_ask_for_encryption_all_the_same(host: Known) -> None:
    told = protection(Asked("dane"), host)
    assert (told.level, told.tlsa, told.required) == ("encrypt", (), True)


def test_a_host_that_unsigned_records_name_is_proven_but_not_the_right_one_for_certain() -> None:
    told = protection(Asked("dane"), known(EE, signed=False))
    assert (told.level, told.tlsa, told.certain) == ("verify", (EE,), False)


@pytest.mark.parametrize("records", [(EE,), (PKIX,), ()])
def test_a_login_at_level_dane(records: tuple[Tlsa, ...]) -> None:
    told = protection(Asked("dane"), known(*records), login=True)
    assert told.level == "verify"
    assert (told.tlsa, bool(told.names)) == (((EE,), False) if EE in records else ((), True))


def test_other_levels_look_at_no_records() -> None:
    for level in ("none", "may", "encrypt", "verify"):
        told = protection(Asked(level), known(EE))
        assert (told.level, told.tlsa) == (level, ())


# --- what is asked for ---

POLICIES = {
    "example.net": 1,
    "*.example.net": 2,
    "*.a.example.net": 3,
    "b.a.example.net": 4,
    "192.0.2.1": 5,
    "*.net": 6,
    "2001:db8::1": 7,
}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("example.net", 1),
        ("x.example.net", 2),
        ("a.example.net", 2),
        ("x.a.example.net", 3),
        ("y.x.a.example.net", 3),
        ("b.a.example.net", 4),
        ("c.b.a.example.net", 3),
        ("192.0.2.1", 5),
        ("[192.0.2.1]", 5),
        ("[ipv6:2001:db8::1]", 7),
        ("other.net", 6),
        ("xexample.net", 6),
        ("net", None),
        ("example.org", None),
        ("", None),
    ],
)
def test_the_most_specific_policy_counts(name: str, found: int | None) -> None:
    assert most_specific(POLICIES, name) == found
    assert most_specific({}, name) is None


def test_what_a_policy_leaves_out_is_as_for_all() -> None:
    own = {"a": TlsPolicy(), "b": TlsPolicy(level="may")}
    files = {"ca_file": "/ca", "client_cert": "/cert", "client_key": "/key"}
    settings = Tls(level="encrypt", require_tls=True, policy=own, **files)
    plain = Asked("encrypt", True, "/ca", False, (), (), "/cert", "/key", True)
    assert asked(settings, "other") == asked(settings, "a") == plain
    assert asked(settings, "b").level == "may" and asked(settings, "b").floor


def test_what_a_policy_says_counts() -> None:
    own = {
        "pinned": TlsPolicy(fingerprints=("ab",)),
        "named": TlsPolicy(match=("x",)),
        "own": TlsPolicy(ca_file="/own", client_cert="/c2"),
    }
    settings = Tls("may", ca_file="/ca", client_cert="/cert", client_key="/key", policy=own)
    assert asked(settings, "pinned").level == asked(settings, "named").level == "verify"
    told = asked(settings, "own")
    assert (told.level, told.ca_file, told.only) == ("may", "/own", True)
    assert (told.client_cert, told.client_key) == ("/c2", ""), "the key of another certificate does not fit"


# --- what the message needs itself (RFC 8689) ---


def test_what_a_message_needs() -> None:
    def envelope(sender: str = "a@example.org", **more: bool) -> Envelope:
        return Envelope(sender, (Recipient("b@example.net"),), "<1@example.org>", 1, **more)

    assert needed(envelope()) == ""
    assert needed(envelope(requiretls=True)) == REQUIRED
    assert needed(envelope(tls_optional=True)) == OPTIONAL
    assert needed(envelope(requiretls=True, tls_optional=True)) == REQUIRED
    assert needed(envelope("", requiretls=True)) == "", "a bounce is not to be lost for it"
    assert needed(envelope("", tls_optional=True)) == OPTIONAL


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("host", [RELAY, MX, SIGNED, known(PKIX), known(EE), known(EE, signed=False)])
def test_requiretls_is_verified_by_what_nobody_can_forge_whatever_is_asked(
    host: Known, level: str, implicit: bool, floor: bool
) -> None:
    told = protection(Asked(level, floor=floor), host, implicit=implicit, need=REQUIRED)
    assert (told.level, told.required, told.certain) == ("verify", True, True)
    assert told.tlsa or told.names
    if not host.signed:
        assert (told.tlsa, told.names) == ((), DOMAIN)


@pytest.mark.parametrize("level", ["none", "may", "encrypt", "dane"])
def test_requiretls_looks_for_tlsa_records_where_the_configuration_trusts_nothing_else(level: str) -> None:
    assert by_dane(Asked(level), REQUIRED, signed=True)
    assert not by_dane(Asked(level), REQUIRED, signed=False)
    assert not by_dane(Asked("verify"), REQUIRED, signed=True)
    assert protection(Asked(level), known(EE), need=REQUIRED).tlsa == (EE,)
    assert protection(Asked("verify"), known(EE), need=REQUIRED).tlsa == ()


def test_pinned_is_proven_enough_for_requiretls() -> None:
    told = protection(Asked("verify", fingerprints=("ab",)), MX, need=REQUIRED)
    assert (told.level, told.fingerprints, told.names) == ("verify", ("ab",), ())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("host", [MX, known(EE), known(PKIX)])
def test_tls_required_no_leaves_what_the_configuration_wants_and_nothing_of_the_recipient(
    host: Known, level: str
) -> None:
    assert not by_dane(Asked(level), OPTIONAL, signed=True)
    told = protection(Asked(level), host, need=OPTIONAL)
    assert told == protection(Asked(WITHOUT[level]), replace(host, tlsa=()))
    assert protection(Asked(level), host, login=True, need=OPTIONAL).level == "verify"
    assert protection(Asked(level, floor=True), host, need=OPTIONAL).required
    assert protection(Asked(level), host, implicit=True, need=OPTIONAL).required


# --- MTA-STS ---

VOUCHED = Known("mx.example.net", "example.com", signed=False, sts=True)


@pytest.mark.parametrize("level", ["may", "encrypt", "verify", "dane"])
def test_an_enforced_policy_wants_a_certificate_for_the_name_of_the_mx_host(level: str) -> None:
    told = protection(Asked(level, ca_file="/ca"), VOUCHED)
    wanted = Protection(
        "verify", "mx.example.net", ("mx.example.net",), certain=True, ca_file="/ca", policy="sts"
    )
    assert told == wanted and told.required


def test_usable_tlsa_records_go_before_it_and_others_do_not() -> None:
    of = partial(replace, known(EE), sts=True)
    assert protection(Asked("dane"), of()) == protection(Asked("dane"), known(EE))
    for held in ((PKIX,), ()):
        told = protection(Asked("dane"), of(tlsa=held))
        assert (told.level, told.policy, told.sni, told.tlsa) == ("verify", "sts", "mx.example.net", ())


def test_who_decides_is_told() -> None:
    assert protection(Asked("dane"), known(PKIX)).policy == "tlsa"
    assert protection(Asked("dane"), known()).policy == protection(Asked("verify"), MX).policy
    assert PLAIN.policy == "no-policy-found"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (Tls(), True),
        (Tls(mta_sts=False), False),
        (Tls("none"), False),
        (Tls("verify"), True),
        (Tls(policy={"a": TlsPolicy(level="may")}), False),
        (Tls(policy={"*.a": TlsPolicy(level="may")}), True),  # of others
        (Tls(policy={"a": TlsPolicy(level="encrypt")}), False),
        (Tls(policy={"a": TlsPolicy(match=("x",))}), False),
        (Tls(policy={"a": TlsPolicy(fingerprints=("ab",))}), False),
        (Tls("none", policy={"a": TlsPolicy(level="dane")}), True),
        (Tls(policy={"a": TlsPolicy(ca_file="/own")}), True),
        (Tls("none", policy={"a": TlsPolicy(ca_file="/own")}), False),
    ],
)
def test_whoever_names_a_level_for_a_domain_has_the_last_word(settings: Tls, wanted: bool) -> None:
    assert asked(settings, "a").sts is wanted
