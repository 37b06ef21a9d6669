"""`python -m boltzwalk` is the command line."""

from .cli import main

main()
