"""Jobs on virtual disks, one a file: each has one public function and one frozen result."""
