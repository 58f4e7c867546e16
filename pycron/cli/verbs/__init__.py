"""The verbs of pycron(1), one in each module; pycron.cli.verb finds them.

`pycron --help` imports all of them, so an import that takes long stands inside a function.
"""
