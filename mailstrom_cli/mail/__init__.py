"""What mail is: values and pure functions, bytes in and values out. No I/O, no clock."""
