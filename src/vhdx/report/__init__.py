"""Pictures of images for people who would rather look: one page of HTML that needs nothing else."""
