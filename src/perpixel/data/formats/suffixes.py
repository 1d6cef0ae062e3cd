"""Which files are pictures, by their ending."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".npy")
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
UNREAD_SUFFIXES = (
    ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k", ".jp2", ".jxl",
    ".mat", ".nef", ".nii", ".npz", ".pbm", ".pgm", ".ppm", ".pnm", ".psd", ".tga",
)  # fmt: skip
"""Endings of pictures that are not read, and so are told of where they lie among images. Whatever ends otherwise
(README.txt, Thumbs.db, JSON) is taken for no image, and nobody is bothered with it."""

TIFF_SUFFIXES = (".tif", ".tiff")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".npy", ".webp", ".gif")
