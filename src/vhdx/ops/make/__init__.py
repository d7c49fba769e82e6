"""Making disks: converting, creating, and what that would take."""
