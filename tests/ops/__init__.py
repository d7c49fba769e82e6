"""Tests of the jobs: create, convert, info; what they make is judged by `tests.support` alone."""
