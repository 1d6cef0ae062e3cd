"""Make a config for your own images: ``python src/init.py <folder> [budget=10min] [run=true]``."""

from perpixel.cli.init import main

if __name__ == "__main__":
    main()
