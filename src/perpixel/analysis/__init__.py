"""Analysis of networks: sizes of every stage, receptive fields, checkerboard artefacts."""
