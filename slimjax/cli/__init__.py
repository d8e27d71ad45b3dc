"""The commands: each file parses flags, calls the library, and prints."""
