"""`python -m zoo`, where the command `zoo` is not on the path."""

from zoo.cli import main

main()
