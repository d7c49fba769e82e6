"""New files and directories for a FAT or exFAT: which writes make them, in which order.

Pure as the readers are: bytes come from ``read(length, offset)``, and writes go out as steps. Whoever
carries them out does each before asking for the next, and makes everything durable where a step says so.
Then power may fail at any instant: what was there is there, and each new name stands for all of its file or
is not there.
"""
