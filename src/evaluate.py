"""Score a finished run: ``python src/evaluate.py run=<run directory> [split=test]``."""

from perpixel.cli.evaluate import main

if __name__ == "__main__":
    main()
