"""`python -m towline.cli`: the same as the `towline` program."""

from towline.cli.main import main

if __name__ == "__main__":
    main()
