"""One flush of a queue full of hostile next hops, as a user runs it: each says why, the others get theirs."""

from __future__ import annotations

import contextlib
import json
import time

from .cells import ONE, Cell, cells

OTHERS = 20
STAGES = ("greeting", "mail", "rcpt", "data", "dot", "rset")


def test_hostile_next_hops_keep_nobody_else_waiting(mailstrom, scripted, certificates) -> None:
    chosen = [cell for cell in cells() if cell.mode == ONE and cell.stage in STAGES]
    context = certificates.context()
    servers = [scripted(cell.script(context), strict=False) for cell in chosen]
    good = scripted()
    routes = [
        f'[[route]]\nrecipient = "d{n}.example.net"\nvia = "smtp://127.0.0.1:{server.port}"'
        for n, server in enumerate(servers)
    ]
    timeouts = "\n".join(
        f'{stage} = "1s"' for stage in ("greeting", "ehlo", "mail", "rcpt", "data", "dot", "rset")
    )
    mailstrom.configure(
        f'via = "smtp://127.0.0.1:{good.port}"',
        *routes,
        f'[smtp.timeout]\n{timeouts}\nquit = "1s"',
        '[tls]\nlevel = "none"\n[retry]\nbase_delay = "1h"\n[limits]\nconnections = 200',
    )
    ids: dict[Cell, str] = {}
    others = []
    for n, cell in enumerate(chosen):
        to = (word for r in cell.recipients for word in ("-t", f"{r}@d{n}.example.net"))
        ids[cell] = mailstrom.submit("-f", "ann@example.org", *to)
        if n % (len(chosen) // OTHERS) == 0:
            others.append(mailstrom.submit("-f", "ann@example.org", "-t", "good@example.org"))
    began = time.monotonic()
    flushed = mailstrom("flush", expect=None)
    assert time.monotonic() - began < 15  # two time-outs, one after the other, of all at the same time
    assert all(line.isprintable() for line in flushed.stderr.split("\n"))
    assert "internal error" not in flushed.stderr

    objects = json.loads(mailstrom("status", "--json", *ids.values(), *others, expect=None).stdout)
    by_id = {told["id"]: told["recipients"] for told in objects}
    assert {r["status"] for id in others for r in by_id[id]} == {"delivered"}
    assert len(good.delivered()) == len(others) == len({id for _, id in good.delivered()})
    for cell in chosen:
        for told, want in zip(by_id[ids[cell]], cell.outcome(), strict=True):
            got = (told["status"], told["code"], told["enhanced"])
            if (cell.stage, cell.kind, told["enhanced"]) != ("greeting", "reset", "4.4.1"):
                assert got == (want.status, want.code, want.enhanced), (str(cell), told["text"])
                assert want.words in told["text"], str(cell)
    marked = {
        cell
        for cell, id in ids.items()
        if any('"maybe_delivered"' in line for line in sidecar(mailstrom, id))
    }
    assert marked == {cell for cell in chosen if any(told.maybe for told in cell.outcome())}
    for server in servers:
        server.release()
        server.wait(lambda s: all(x.end != "open" for x in s.sessions), 5)


def sidecar(mailstrom, id: str) -> list[str]:
    for state in ("deferred", "failed", "delivered", "queued"):
        with contextlib.suppress(FileNotFoundError):
            return (mailstrom.spool / state / id / "message.jsonl").read_text().split("\n")
    raise AssertionError(f"{id} is nowhere")
