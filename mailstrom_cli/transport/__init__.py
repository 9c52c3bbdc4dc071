"""Ways for mail to leave: each takes one job and gives a result per recipient."""
