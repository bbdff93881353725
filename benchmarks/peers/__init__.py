"""Other tools run on our networks: their environments, what they are given, how they are run."""
