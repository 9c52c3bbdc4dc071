"""The test suite, one folder a room; real servers and scripted ones are in `peers`."""
