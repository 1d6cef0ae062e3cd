"""Show what a model does to sizes: ``python src/shapes.py [model=…] [encoder=…] [decoder=…] [size=[H,W]]``."""

from perpixel.cli.shapes import main

if __name__ == "__main__":
    main()
