"""Real images, as Windows, QEMU and Disk2vhd wrote them."""
