"""Who is due, who may dial, and what a result means for a message: `flusher` is the door."""
