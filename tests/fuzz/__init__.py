"""Fuzzing: what comes from outside may be anything (promises 17 to 19). `docs/fuzzing.md` tells the whole.

`targets/` holds one module for each thing that is fuzzed, with one function `run(data)` that knows no fuzzer;
`python -m tests.fuzz TARGET --seconds N` runs one with coverage guidance, `test_corpus.py` replays inputs.
"""
