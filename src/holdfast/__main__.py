"""`python -m holdfast`: the command line, for where no script is on the path."""

from holdfast.cli import main

main()
