"""Data: sources and their splits, content hashes, samplers, and the data module that feeds training."""

from perpixel.data.base import DataSource, Sample, Split
from perpixel.data.embedded.earth import Earth
from perpixel.data.folder.source import Folder
from perpixel.data.loading.module import DataModule
from perpixel.data.published.ade20k import ADE20K
from perpixel.data.published.cityscapes import Cityscapes
from perpixel.data.published.coco_stuff import COCOStuff
from perpixel.data.published.voc import VOC

__all__ = [
    "ADE20K",
    "VOC",
    "COCOStuff",
    "Cityscapes",
    "DataModule",
    "DataSource",
    "Earth",
    "Folder",
    "Sample",
    "Split",
]
