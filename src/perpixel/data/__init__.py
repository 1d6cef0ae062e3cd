"""Data: sources and their splits, content hashes, samplers, and the data module that feeds training."""

from perpixel.data.ade20k import ADE20K
from perpixel.data.base import DataSource, Sample, Split
from perpixel.data.cityscapes import Cityscapes
from perpixel.data.coco_stuff import COCOStuff
from perpixel.data.earth import Earth
from perpixel.data.folder import Folder
from perpixel.data.module import DataModule
from perpixel.data.voc import VOC

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
