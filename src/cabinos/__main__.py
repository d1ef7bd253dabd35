"""`python -m cabinos` is the `cabin` command."""

from cabinos.cli.main import main

if __name__ == "__main__":
    main(prog_name="cabin")
