"""Look at the environment: ``python src/doctor.py [root=<folder>] [output=<folder>] [deep=true]``."""

from perpixel.cli.doctor import main

if __name__ == "__main__":
    main()
