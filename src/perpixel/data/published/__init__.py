"""Published data sets in their on-disk layouts."""
