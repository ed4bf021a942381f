"""The command line: one file a kind of work; each command translates, calls and prints."""
