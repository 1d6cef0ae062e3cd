"""Write a trained model in another format: ``python src/export.py run=<run directory> [export=onnx]``."""

from perpixel.cli.export import main

if __name__ == "__main__":
    main()
