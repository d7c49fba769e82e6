"""The exit codes that all verbs share."""

EXIT_FAILURE = 1
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130
