"""Images for tests, built, damaged and read without a line of the library under test."""
