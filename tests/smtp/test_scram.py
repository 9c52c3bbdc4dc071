"""SCRAM: the examples of the RFCs, what it is bound to, and servers that lie."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstrom_cli.smtp.auth import BOUND, Credentials, Derive, LoginFailed, authenticate
from mailstrom_cli.smtp.dialog import Read, Write
from mailstrom_cli.smtp.sasl.binding import _oid, end_point
from mailstrom_cli.smtp.sasl.prep import saslprep

from .driving import Driven

USER = Credentials("user", "pencil")
END_POINT = ("tls-server-end-point", b"a hash of the certificate")

EXAMPLES = {
    "SCRAM-SHA-1": (  # RFC 5802, 5
        "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SCRAM-SHA-256": (  # RFC 7677, 3
        "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        (
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        ),
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}
NONCE, CHALLENGE, _, SIGNATURE = EXAMPLES["SCRAM-SHA-256"]


def challenge(text: str) -> str:
    return f"334 {b64encode(text.encode()).decode()}"


def log_in(
    *replies: str,
    offered: tuple[str, ...] = ("SCRAM-SHA-256",),
    credentials: Credentials = USER,
    nonce: str = NONCE,
    binding: tuple[str, bytes] | None = None,
) -> Driven:
    dialogue = authenticate(credentials, offered, Write, Read("auth"))
    return Driven(dialogue, *replies, nonce=nonce, binding=binding)


def said(done: Driven) -> list[str]:
    """What the client said, out of base64."""
    return [b64decode(line.split()[-1]).decode() if line else "" for line in done.written]


@pytest.mark.parametrize("mechanism", EXAMPLES)
def test_the_examples_of_the_rfcs(mechanism: str) -> None:
    nonce, first, final, signature = EXAMPLES[mechanism]
    done = log_in(challenge(first), challenge(signature), "235 in", offered=(mechanism,), nonce=nonce)
    assert said(done) == [f"n,,n=user,r={nonce}", final, ""]
    assert done.result[1].code == 235


def test_the_proof_is_hidden_and_so_is_the_password_from_then_on() -> None:
    done = log_in(challenge(CHALLENGE), challenge(SIGNATURE), "235 in")
    first, final, last = [e for e in done.effects if isinstance(e, Write)]
    assert not first.secrets and not last.secrets
    assert {"pencil", final.data.decode().rstrip("=\r\n")} <= set(final.secrets)
    assert "pencil" not in repr(done.effects) and "dHzbZapW" not in repr(done.effects)


# --- channel binding ---


@pytest.mark.parametrize(
    ("offered", "mechanism", "binding", "begins"),
    [
        (("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), "auto", END_POINT, "p=tls-server-end-point,,"),
        (("SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"), "auto", END_POINT, "p=tls-server-end-point,,"),
        (("SCRAM-SHA-256-PLUS",), "scram-sha-256-plus", END_POINT, "p=tls-server-end-point,,"),
        (("SCRAM-SHA-256",), "auto", END_POINT, "y,,"),  # could, and the server cannot
        (("SCRAM-SHA-256",), "auto", None, "n,,"),
        (("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), "auto", None, "n,,"),  # the server can, and we cannot
        (("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), "scram-sha-256", END_POINT, "n,,"),
    ],
)
def test_the_flag_says_what_each_side_can(
    offered: tuple[str, ...], mechanism: str, binding: tuple[str, bytes] | None, begins: str
) -> None:
    credentials = Credentials("user", "pencil", mechanism)
    done = log_in("535 no", offered=offered, credentials=credentials, binding=binding)
    assert said(done)[0].startswith(f"{begins}n=user,")
    assert done.written[0].split()[1].endswith("-PLUS") == begins.startswith("p=")


def test_a_server_that_offers_to_bind_is_never_told_that_it_does_not() -> None:
    done = log_in(
        "504 5.5.4 Not now", "535 no", offered=("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), binding=END_POINT
    )
    assert [text.partition(",,")[0] for text in said(done)] == ["p=tls-server-end-point", "n"]


def test_what_it_is_bound_to_is_under_the_proof() -> None:
    replies = (challenge(CHALLENGE), "535 no")
    bound = log_in(*replies, offered=("SCRAM-SHA-256-PLUS",), binding=END_POINT)
    channel = said(bound)[1].split(",")[0].removeprefix("c=")
    assert b64decode(channel) == b"p=tls-server-end-point,," + END_POINT[1]
    other = log_in(*replies, offered=("SCRAM-SHA-256-PLUS",), binding=(END_POINT[0], b"another"))
    assert said(bound)[1].rpartition("p=")[2] != said(other)[1].rpartition("p=")[2]


def test_a_connection_without_a_binding_is_named_where_one_is_wanted() -> None:
    with pytest.raises(LoginFailed, match="nothing to bind to") as raised:
        log_in(
            offered=("SCRAM-SHA-256-PLUS",), credentials=Credentials("user", "pencil", "scram-sha-256-plus")
        )
    assert raised.value.ours


@pytest.mark.parametrize("error", ["unsupported-channel-binding-type", "channel-binding-not-supported"])
def test_a_server_that_binds_otherwise_gets_no_login_without_binding(error: str) -> None:
    """Somebody in between could have said so."""
    with pytest.raises(LoginFailed, match=f'{error}; mechanism = "scram-sha-256" does without'):
        log_in(
            challenge(CHALLENGE),
            challenge(f"e={error}"),
            offered=("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"),
            binding=END_POINT,
        )


def test_the_hash_of_a_certificate(tmp_path: object) -> None:
    import hashlib

    import trustme
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    authority = trustme.CA()
    pem = authority.issue_cert("mx.example.test").cert_chain_pems[0].bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    assert end_point(der) == hashlib.sha256(der).digest()

    names = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx")])
    when = x509.load_pem_x509_certificate(pem).not_valid_before_utc

    def made(key, hash, **how) -> bytes:  # type: ignore[no-untyped-def]
        builder = x509.CertificateBuilder(names, names, key.public_key(), 1, when, when)
        return builder.sign(key, hash, **how).public_bytes(serialization.Encoding.DER)

    curve, modulus = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    for der, name in (
        (made(curve, hashes.SHA384()), "sha384"),
        (made(curve, hashes.SHA512()), "sha512"),
        (made(modulus, hashes.SHA256()), "sha256"),
        (made(modulus, hashes.SHA512()), "sha512"),
        (made(modulus, hashes.SHA384(), rsa_padding=pss), "sha384"),
    ):
        assert end_point(der) == hashlib.new(name, der).digest(), name
    assert end_point(made(ed25519.Ed25519PrivateKey.generate(), None)) is None  # RFC 5929: not defined
    mixed = padding.PSS(padding.MGF1(hashes.SHA256()), 48)
    assert end_point(made(modulus, hashes.SHA384(), rsa_padding=mixed)) is None
    # SHA-1, which nothing signs any more: as SHA-256
    old = der.replace(_oid("1.2.840.113549.1.1.10"), _oid("1.2.840.113549.1.1.5"))
    assert end_point(old) == hashlib.sha256(old).digest()


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x84\xff", b"\x30\x05abc", b"\x30\x03\x30\x01\x00"])
def test_what_is_no_certificate_has_no_hash(der: bytes) -> None:
    assert end_point(der) is None


# --- servers that lie ---

LIES = {
    "r=another,s=c2FsdA==,i=4096": "does not belong to this login",
    f"r={NONCE},s=c2FsdA==,i=4096": "does not belong to this login",  # nothing of its own
    f"r={NONCE}x,s=c2FsdA==,i=4095": "iterations that is not from 4096 to 1000000",
    f"r={NONCE}x,s=c2FsdA==,i=1000001": "iterations",
    f"r={NONCE}x,s=c2FsdA==,i={10**400}": "iterations",
    f"r={NONCE}x,s=c2FsdA==,i=-5000": "iterations",
    f"r={NONCE}x,s=c2FsdA==,i=５０００": "iterations",
    f"r={NONCE}x,s=,i=4096": "no salt",
    f"r={NONCE}x,s=c2Fsd,i=4096": "no base64",
    f"r={NONCE}x,s=c2FsdA==": "not one of SCRAM",
    f"s=c2FsdA==,r={NONCE}x,i=4096": "not one of SCRAM",
    f"m=ext,r={NONCE}x,s=c2FsdA==,i=4096": "extension",
    "": "not one of SCRAM",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_challenge_that_cannot_be_believed_gets_no_proof(lie: str) -> None:
    dialogue = authenticate(USER, ("SCRAM-SHA-256",), Write, Read("auth"))
    derived = []

    def watched():  # type: ignore[no-untyped-def]
        told = None
        while True:
            effect = dialogue.send(told)
            derived.append(isinstance(effect, Derive))
            told = yield effect

    with pytest.raises(LoginFailed, match=LIES[lie]) as raised:
        Driven(watched(), challenge(lie), nonce=NONCE)
    assert not raised.value.ours
    assert not any(derived)


def test_a_challenge_that_is_no_text() -> None:
    with pytest.raises(LoginFailed, match="no UTF-8"):
        log_in("334 /w==")


@pytest.mark.parametrize(
    "last",
    [
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95H4=",
        "v=",
        "v",
        "x=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        "",
    ],
)
def test_a_server_that_cannot_prove_that_it_knows_the_password_is_left(last: str) -> None:
    with pytest.raises(LoginFailed, match=r"did not prove that it knows the password|no base64"):
        log_in(challenge(CHALLENGE), challenge(last))


@pytest.mark.parametrize("replies", [("235 in",), (challenge(CHALLENGE), "235 in")])
def test_a_login_that_succeeds_too_early_is_none(replies: tuple[str, ...]) -> None:
    with pytest.raises(LoginFailed, match="SCRAM-SHA-256: the server did not prove"):
        log_in(*replies)


@pytest.mark.parametrize("replies", [("535 no",), (challenge(CHALLENGE), "535 no")])
def test_a_refusal_is_one(replies: tuple[str, ...]) -> None:
    assert log_in(*replies).result[1].code == 535


@pytest.mark.parametrize("error", ["invalid-proof", "unknown-user"])
def test_a_refusal_in_the_words_of_scram_is_told_once_more_by_the_reply(error: str) -> None:
    done = log_in(challenge(CHALLENGE), challenge(f"e={error}"), "535 no")
    assert done.written[-1] == ""
    assert done.result[1].code == 535
    with pytest.raises(LoginFailed, match="did not prove"):
        log_in(challenge(CHALLENGE), challenge(f"e={error}"), "235 in")


def test_words_of_a_servers_own_are_not_repeated() -> None:
    with pytest.raises(LoginFailed, match=r"the server refuses: other-error$"):
        log_in(challenge(CHALLENGE), challenge("e=pencil"))


def challenges() -> st.SearchStrategy[str]:
    """334 with anything in it, and often with something that looks like SCRAM."""
    words = st.sampled_from([f"r={NONCE}x", "r=", "s=c2FsdA==", "s=", "i=4096", "i=", "v=", "e=x", "m=", ""])
    scram = st.lists(words, max_size=5).map(",".join).map(str.encode)
    inside = (st.binary(max_size=40) | scram).map(lambda octets: b64encode(octets).decode())
    return (inside | st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)).map(
        lambda text: f"334 {text}"
    )


@given(
    st.lists(challenges(), min_size=8, max_size=8),
    st.sampled_from([*BOUND, "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]),
)
@settings(max_examples=60)
def test_whatever_a_server_says_the_login_ends(said: list[str], mechanism: str) -> None:
    credentials = Credentials("user", "pencil", mechanism.lower())
    dialogue = authenticate(credentials, (mechanism,), Write, Read("auth"))
    left = iter(said)

    def answered():  # type: ignore[no-untyped-def]
        told = None
        try:
            while True:
                effect = dialogue.send(told)
                told = yield effect
        except StopIteration as end:
            return end.value

    try:
        Driven(answered(), *left, nonce=NONCE, binding=END_POINT)
    except (LoginFailed, AssertionError) as error:  # AssertionError: it has ended with replies left
        assert isinstance(error, LoginFailed) or "did not wait" in str(error)


# --- names and passwords (RFC 4013, 3) ---


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("pa\u0308ss", "p\u00e4ss"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("\U0001f600", "\U0001f600"),  # younger than Unicode 3.2: allowed in a query
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "a\u007fb", "\u0627\u0031", "\u0627a\u0628", "\ue000", "a\u200eb"]
)
def test_saslprep_forbids(text: str) -> None:
    with pytest.raises(ValueError, match=r"it (has|mixes)") as raised:
        saslprep(text)
    assert text not in str(raised.value)


def test_a_password_that_cannot_be_used_is_named_as_such_and_not_shown() -> None:
    with pytest.raises(
        LoginFailed, match=r"the password cannot be used with SCRAM: .*\(RFC 4013\)"
    ) as raised:
        log_in(credentials=Credentials("user", "pen\u0007cil"))
    assert raised.value.ours and "cil" not in str(raised.value)
    with pytest.raises(LoginFailed, match="nothing is left of the username"):
        log_in(credentials=Credentials("\u00ad", "pencil"))


def test_name_and_password_are_prepared_and_the_name_is_escaped() -> None:
    same = [
        log_in(challenge(CHALLENGE), "535 no", credentials=Credentials(*held))
        for held in (("a,b=\u2168", "pa\u0308ss"), ("a,b=IX", "p\u00e4ss"))
    ]
    assert said(same[0]) == said(same[1])
    assert said(same[0])[0] == f"n,,n=a=2Cb=3DIX,r={NONCE}"
