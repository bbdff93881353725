"""Reference networks to convert, how they were trained, and the data to try them on."""
