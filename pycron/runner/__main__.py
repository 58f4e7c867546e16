"""`python -m pycron.runner DESCRIPTOR` runs the runner on a listening socket that it inherits."""

from pycron.runner.runner import main

main()
