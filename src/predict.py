"""Label images: ``python src/predict.py run=<run or bundle> input=<file, folder, glob, list or -> output=<folder>``."""

from perpixel.cli.predict import main

if __name__ == "__main__":
    main()
