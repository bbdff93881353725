"""Many evaluations: described in a file, kept in a store, done once."""
