"""The commands, one file per subject: parse, call one function, print."""
