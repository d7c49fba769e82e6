"""What is wrong with one VHDX file, what is doubtful in it, and what can be repaired."""
