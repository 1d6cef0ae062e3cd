"""Compare any runs on one page: ``python src/report.py runs=<directories or glob> [by=decoder,loss]``."""

from perpixel.cli.report import main

if __name__ == "__main__":
    main()
