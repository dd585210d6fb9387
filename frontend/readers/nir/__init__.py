"""NIR graphs, in continuous time."""
