"""One module for each thing that is fuzzed.

`run(data)` takes any bytes and raises if a promise is broken; `corpus()` gives inputs to begin with;
`mutated(data, chance)`, where there is one, is a mutation that knows the form of the input.
"""
