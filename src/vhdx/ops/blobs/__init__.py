"""Disks that go to page blobs of Azure, and come back."""
