"""Launchers and sweepers for Hydra, which looks for them in ``hydra_plugins`` and imports them at every start."""
