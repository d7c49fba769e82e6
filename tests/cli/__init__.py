"""Tests of the command: words in, words out, exit codes."""
