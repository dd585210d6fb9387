"""Writers of networks for other tools; the bytes of a file are the same every time."""
