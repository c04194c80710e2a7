"""`python -m skyloom` is the command `skyloom`."""

from skyloom.cli import main

main()
