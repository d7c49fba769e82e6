"""The mount: its operations without a kernel, and with one."""
