"""From a stranger's folder to a config: look at it, decide with a reason for each choice, write it down."""
