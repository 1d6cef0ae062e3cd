"""Look at a data set: ``python src/audit.py [data=…] [augment=…] [key=value …]``."""

from perpixel.cli.audit import main

if __name__ == "__main__":
    main()
