"""`python -m skyloom` is the command `skyloom`."""

from skyloom.cli.main import main

main()
