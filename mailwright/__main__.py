"""`python -m mailwright`: the command line."""

from mailwright.command.main import main

main()
