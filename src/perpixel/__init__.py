"""perpixel: Hydra-configured, Lightning-trained semantic-segmentation experiments."""

__version__ = "0.1.0"
