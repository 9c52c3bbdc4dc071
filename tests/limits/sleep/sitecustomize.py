"""Sleeps where libfaketime is loaded: it hands clock_nanosleep(2) a time that it does not take."""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
