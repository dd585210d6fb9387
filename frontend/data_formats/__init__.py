"""The files in which data sets are published, read without trust: bytes and labels come out, or one sentence."""
