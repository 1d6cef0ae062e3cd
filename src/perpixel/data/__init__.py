"""Data: sources and their splits, content hashes, samplers, and the data module that feeds training."""

from perpixel.data.base import DataSource, Sample, Split
from perpixel.data.earth import Earth
from perpixel.data.folder import Folder
from perpixel.data.module import DataModule

__all__ = ["DataModule", "DataSource", "Earth", "Folder", "Sample", "Split"]
