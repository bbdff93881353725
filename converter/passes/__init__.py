"""Graph -> Graph, one file each."""
