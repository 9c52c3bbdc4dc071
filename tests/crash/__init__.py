"""The fault harness: the real commands, killed or failed by strace at every call that touches the spool or
the server, and what must hold afterwards.

    python -m tests.crash                  everything: every scenario, every point, every fault
    python -m tests.crash flush run        these scenarios
    python -m tests.crash submit --kinds kill --at fsync     only these faults; --errors EIO only these errors
    python -m tests.crash flush --from 200                   one that was broken off, from its 200th point on

A point is one system call of a run without faults that names the spool, or a descriptor below it, or a TCP
socket. At each the process is killed; the call fails once with each error that it can give; and it fails so
from there on. The parts:

    scenario.py   what is run: the commands, the messages, the server
    trace.py      strace's log, read: the calls, and where a second delivery would be no fault
    inject.py     one run, with one fault or none
    check.py      what must hold after it, and after the next run, which has no fault
    matrix.py     all points of a scenario, several at a time
    test_crash.py what CI runs: every kill of one submit, one flush and one run; a short form of the errors

Beside it:

    python -m tests.crash.power            power cuts: every call of every command, on ext4 and XFS; as root

    disk.py       a disk that loses its power, and one that is soon full
    halt.py       a command that stands still after one of its calls
    commands.py   what is cut; place.py: where, and what is looked at afterwards
    test_power.py what CI runs of it
    test_full_disk.py, user.py: full disks, and disks that become read-only
"""
