"""`python -m pycron.cluster DESCRIPTOR` runs the agent on a listening socket that it inherits."""

from pycron.cluster.agent import main

main()
