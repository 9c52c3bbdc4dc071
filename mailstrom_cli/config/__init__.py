"""The settings: what there is to set, where it may be set, and what is wrong with what somebody set."""
