"""Message state: the only room that touches it. `base` is the protocol, `entry` the pure fold, the rest
stores."""
