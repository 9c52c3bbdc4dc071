"""What the scheduler finds in a spool on disk: damage, and what a crash left where it does not belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstrom_cli.mail.status import DELIVERED
from mailstrom_cli.store.spool import Spool

from .virtual import VirtualLoop, run
from .world import World

if TYPE_CHECKING:
    from pathlib import Path


def test_damaged_messages_are_set_aside_and_the_others_delivered(tmp_path: Path, caplog) -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok", store=Spool(str(tmp_path / "spool")))
        ids = [world.submit("b@example.net") for _ in range(5)]
        queued = tmp_path / "spool" / "queued"
        (queued / ids[0] / "message.eml").unlink()
        (queued / ids[1] / "message.jsonl").write_text("not JSON\n")
        (queued / ids[2] / "message.jsonl").unlink()
        (queued / ids[2] / "message.jsonl").symlink_to("/etc/passwd")
        await world.scheduler(once=True).run()
        assert sorted(p.name for p in (tmp_path / "spool" / "corrupt").iterdir()) == sorted(ids[:3])
        assert [world.state(id) for id in ids[3:]] == [DELIVERED, DELIVERED]
        assert not list(queued.iterdir())

    run(story)
    assert all(word in caplog.text for word in ("message.eml", "message.jsonl"))


def test_a_move_that_a_crash_left_out_is_made_up_and_nothing_is_sent_again(tmp_path: Path) -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, lambda job, address: "250 ok", store=Spool(str(tmp_path / "spool")))
        id = world.submit("b@example.net")
        with (tmp_path / "spool" / "queued" / id / "message.jsonl").open("a") as sidecar:
            sidecar.write(
                '{"event":"results","time":1800000001,"recipients":'
                '[{"address":"b@example.net","status":"delivered","attempts":1,"text":"ok"}]}\n'
            )
        await world.scheduler(once=True).run()
        assert world.attempts == []
        assert (tmp_path / "spool" / "delivered" / id).is_dir()

    run(story)
