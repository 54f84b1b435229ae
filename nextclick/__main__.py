"""`python -m nextclick`: the command line."""

from nextclick.cli import main

if __name__ == "__main__":
    main()
