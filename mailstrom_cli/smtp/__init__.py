"""The SMTP and LMTP client protocol without I/O: replies in, effects out; `net.driver` performs them."""
