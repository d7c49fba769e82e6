"""What `files/btrfs` uses of dissect.btrfs."""

from dissect.btrfs.btrfs import Btrfs as Btrfs
