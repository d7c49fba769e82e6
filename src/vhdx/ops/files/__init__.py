"""Jobs on the files of guests: list, find, measure, copy out, archive."""
