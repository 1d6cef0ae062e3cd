"""Models after deployment: drift, rolling scores, what to label next."""
