"""What the evidence says of a candidate: a policy, gates of one thing each, an outcome."""
