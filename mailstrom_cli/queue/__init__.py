"""Who is due, who may dial, and what a result means for a message: `flush` and `run` are the doors."""
