"""The command `vhdx`: words in, words out."""
