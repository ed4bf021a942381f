"""`python -m candlecast` is the command line."""

from candlecast.cli import main

if __name__ == "__main__":
    main()
