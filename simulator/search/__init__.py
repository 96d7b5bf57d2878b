"""Looking for runs that fail: many seeds, recordings, the smallest failing script, what differs."""
