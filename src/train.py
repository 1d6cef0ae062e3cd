"""Train: ``python src/train.py [-m] [group=choice …] [key=value …]``."""

from perpixel.cli.train import main

if __name__ == "__main__":
    main()
