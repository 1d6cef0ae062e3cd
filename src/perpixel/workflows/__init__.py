"""What the verbs and the Python API do: train, resume, evaluate, predict, audit, shapes."""
