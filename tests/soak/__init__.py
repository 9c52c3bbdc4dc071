"""Many processes on one spool for a long time: beside each other, killed, and with the power cut.

    python -m tests.soak --minutes 60 [--seed N] [LANE ...]      the soak: everything fails at random
    python -m tests.soak.beside --minutes 5 [--seed N]           nothing fails, and everybody works at once

The parts:

    weather.py    a server that fails at random, and remembers whatever it took responsibility for
    load.py       random submits
    crowd.py      real processes, started, killed and cut off the disk
    books.py      what was submitted, killed and cut, what the record and the server say, and how they agree
    lane.py       a soak in one place: on a disk that loses its power, or with a `run` that lives on
    beside.py     every command beside every other one, and readers that look on
    test_*.py     what CI runs of it
"""
