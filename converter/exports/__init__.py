"""Graph -> file, file -> Graph."""
