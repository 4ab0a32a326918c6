"""What is known of every public set: one row each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from xr_cloudmask.datasets import landsat, points, readers
from xr_cloudmask.datasets.labelled import (
    BOTH,
    CLEAR,
    CLOUD,
    LAND,
    NO_CLOUD,
    SHADOW,
    SNOW,
    THICK,
    THIN,
    WATER,
    Labelled,
    Meaning,
)  # fmt: skip
from xr_cloudmask.errors import FileError, close_to, is_one_of

Reader: TypeAlias = Callable[["PublicSet", Path], Iterator[Labelled]]


@dataclass(frozen=True)
class Published:
    """A score that others have published.

    Attributes
    ----------
    method : str
        Whose.
    measure : str
        A name of `Agreement`'s scores.
    values : mapping of str to float
        By class; ``'all'`` where it is over all.
    definition : str
        Where it is not what `Agreement` says of the measure, or of other pixels.
    source : str
    """

    method: str
    measure: str
    values: Mapping[str, float]
    definition: str
    source: str


@dataclass(frozen=True)
class PublicSet:
    """A public set of labelled scenes.

    Attributes
    ----------
    name, title, source : str
    reader : callable
        From this and a folder to `Labelled` scenes, one after the other.
    layout : str
        The files that it needs.
    bands : tuple of str
        That models see, in the order of the files.
    codes : mapping of int to meaning
        What labels stand for; others are not judged.
    told : mapping
        What `predict` is told: sensor, level, and scale, offset and nodata where files do not say them.
    scale : str
        From numbers to reflectance, for people.
    pixel : float
        Metres.
    classes : str
        What models are judged by, of `judging.JUDGINGS`.
    published : tuple of Published
    unconfirmed : str
        What of this row nobody has seen in a file of the set.
    colours, suffixes, folder
        Of some readers: colours of labels, endings of files, a folder.
    """

    name: str
    title: str
    source: str
    reader: Reader
    layout: str
    bands: tuple[str, ...]
    codes: Mapping[int, Meaning]
    told: Mapping[str, Any]
    scale: str
    pixel: float
    classes: str = "clouds_and_shadows"
    published: tuple[Published, ...] = ()
    unconfirmed: str = ""
    colours: tuple[tuple[int, int, int], ...] = ()
    suffixes: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


S2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
S2_SHORT = tuple(name.replace("B0", "B") for name in S2)
L8 = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9")
L7 = ("B1", "B2", "B3", "B4", "B5", "B7")
OF_L7 = {"B1": "B10", "B2": "B20", "B3": "B30", "B4": "B40", "B5": "B50", "B7": "B70"}
RGB = ("red", "green", "blue")
HIGH = {0: CLEAR, 1: THICK, 2: THIN, 3: SHADOW}
USGS = {64: SHADOW, 128: CLEAR, 192: THIN, 255: THICK}
PIXBOX = {points.IS_CLEAR: CLEAR, points.IS_CLOUD: CLOUD, points.IS_SHADOW: SHADOW, points.ARE_BOTH: BOTH}
ALCD = {2: CLOUD, 3: CLOUD, 4: SHADOW, 5: LAND, 6: WATER, 7: SNOW}
TOA_S2 = {"sensor": "sentinel-2", "level": "TOA", "scale": 1e-4, "offset": 0.0, "nodata": 0.0}
TOA_L8, TOA_L7 = {"sensor": "landsat-8-9", "level": "TOA"}, {"sensor": "landsat-7", "level": "TOA"}
PICTURE = {"scale": "display"}
OF_S2, OF_L8 = "number / 10000", "(number × 2e-5 − 0.1) / sin(sun elevation of the MTL file)"
STRETCHED = "a picture of 8 bits, stretched for the eye"
OCM = "OmniCloudMask 1.7.0 (models 4)"
OCM_AT = "https://github.com/DPIRD-DMA/OmniCloudMask, validation notebooks"
ADAPTER = "Cloud-Adapter"
ADAPTER_AT = "https://github.com/XavierJiezou/Cloud-Adapter"
OF_POINTS = "one class against the rest, thin and thick cloud together, points without data counted as clear"
OF_PATCHES = "RGB pictures of 512 × 512, the network trained on the training part"
SPARCS = ((0, 0, 0), (0, 0, 128), (0, 0, 255), (0, 255, 255), (128, 128, 128), (255, 255, 255), (128, 128, 0))


def _miou(value: float, definition: str = OF_PATCHES) -> tuple[Published, ...]:
    return (Published(ADAPTER, "mIoU", {"all": round(value / 100, 6)}, definition, ADAPTER_AT),)


def _balanced(clear: float, cloud: float, shadow: float) -> tuple[Published, ...]:
    percent = {"clear": clear, "cloud": cloud, "cloud_shadow": shadow}
    values = {name: round(value / 100, 6) for name, value in percent.items()}
    return (Published(OCM, "balanced accuracy", values, OF_POINTS, OCM_AT),)


def _pictures(name: str, title: str, codes: Mapping[int, Meaning], pixel: float, best: float) -> PublicSet:
    layout, judged = "img_dir/test/*.png, ann_dir/test/*.png", "cloudsen12" if len(codes) > 2 else "binary"
    return PublicSet(
        name, title, ADAPTER_AT, readers.pictures, layout, RGB, codes, PICTURE, STRETCHED, pixel, judged, _miou(best),
        "the pixel size" if pixel not in (10.0, 30.0) else "",
    )  # fmt: skip


_ROWS = (
    PublicSet(
        "cloudsen12plus", "CloudSEN12+, test patches of high quality, level 1C",
        "https://huggingface.co/datasets/tacofoundation/cloudsen12", readers.cloudsen12plus,
        "*.taco, or *_image_l1c.tif with *_label.tif", S2, HIGH, TOA_S2, OF_S2, 10.0, "cloudsen12",
        unconfirmed="the order of the 13 bands; the columns of the TACO files; names of the GeoTIFF files",
    ),
    PublicSet(
        "cloudsen12", "CloudSEN12 (2022), test patches, level 1C", "https://doi.org/10.1038/s41597-022-01878-2",
        readers.cloudsen12, "test/L1C_B*.dat, test/LABEL_manual_hq.dat", S2_SHORT, HIGH, TOA_S2, OF_S2, 10.0,
        "cloudsen12", _miou(74.18, "RGB pictures of the same patches, the network trained on the training part"),
    ),
    PublicSet(
        "l8biome", "L8 Biome, 96 scenes", "https://doi.org/10.1016/j.rse.2017.03.026", landsat.l8biome,
        "**/LC8*.TIF or LC8*_B*.TIF, LC8*_fixedmask.TIF or .img, LC8*_MTL.txt", L8, USGS, TOA_L8, OF_L8, 30.0,
        "cloudsen12", _miou(57.53, "RGB pictures of 512 × 512 crops, the network trained on other crops"),
        unconfirmed="the names of the folders; whether all copies bring the MTL file; fill is not judged",
    ),
    PublicSet(
        "l7irish", "L7 Irish, 206 scenes", "https://doi.org/10.5066/F7XD0ZWC", landsat.l7irish,
        "p*_r*/L7*.TIF or L7*_B*.TIF, L7_p*_r*_newmask2015.TIF, *_MTL.txt", L7, USGS, TOA_L7,
        "REFLECTANCE_MULT or LMAX and LMIN of the MTL file, over sin(sun elevation)", 30.0, "cloudsen12",
        unconfirmed="what the MTL files of all scenes hold; files a band, of which some begin with L72",
        suffixes=OF_L7,
    ),
    PublicSet(
        "sparcs", "SPARCS, 80 patches", "https://doi.org/10.5066/F7FB5146", landsat.sparcs,
        "*_data.tif, *_mask.png, *_mtl.txt", L8,
        {0: SHADOW, 1: SHADOW, 2: WATER, 3: SNOW, 4: LAND, 5: CLOUD, 6: LAND}, TOA_L8, OF_L8, 30.0,
        unconfirmed="whether *_data.tif has 10 or 11 bands; the numbers of a mask with a palette", colours=SPARCS,
    ),
    PublicSet(
        "pixbox-s2", "PixBox-S2-CMIX, points of 29 products", "https://doi.org/10.5281/zenodo.5036991",
        points.pixbox_s2, "pixbox_sentinel2_cmix_*.csv, **/*.SAFE (unpacked)", S2, PIXBOX, {},
        "as the product says", 10.0, published=_balanced(92.42, 91.52, 81.37),
    ),
    PublicSet(
        "pixbox-l8", "PixBox-L8-CMIX, points of 11 scenes", "https://doi.org/10.5281/zenodo.5040271",
        points.pixbox_l8, "pixbox_landsat8_cmix_*.csv, **/LC8*/LC8*_B*.TIF with *_MTL.txt", L8, PIXBOX, TOA_L8,
        OF_L8, 30.0, published=_balanced(96.4, 96.3, 83.6),
    ),
    *(
        PublicSet(
            name, f"ALCD of CESBIO, {what}", "https://doi.org/10.5281/zenodo.1460960", readers.alcd,
            f"{folder}/*/Classification/classification_map.tif, **/*MSIL1C*.SAFE", S2, ALCD, {}, "as the product says",
            10.0, unconfirmed="that folders of scenes hold the tile and the day of their product", folder=folder,
        )
        for name, what, folder in (
            ("cesbio", "38 scenes", "Reference_dataset"), ("hollstein", "scenes of Hollstein", "Hollstein"),
        )
    ),
    PublicSet(
        "kappaset", "KappaSet", "https://doi.org/10.5281/zenodo.7100327", readers.kappaset, "**/*.nc",
        S2, {1: CLEAR, 2: SHADOW, 3: THIN, 4: THICK}, TOA_S2, f"{OF_S2}; floats × 6.5535", 10.0, "cloudsen12",
        (
            Published(
                "Swin-Unet; CloudS2Mask for shadow", "F1", {"clear": 0.935, "cloud": 0.909, "cloud_shadow": 0.743},
                "KappaSet and test patches of CloudSEN12+ together, 20 m", "abstract of the Swin-Unet paper",
            ),
        ),
        "the numbers of floating bands; the pixel size of 10 m",
    ),
    *(
        PublicSet(
            f"{number}cloud", f"{number}-Cloud, patches with labels", "https://doi.org/10.1109/IGARSS.2019.8898776",
            readers.cloud38, "*_red/red_*.TIF, *_green, *_blue, *_nir, *_gt/gt_*.TIF",
            ("blue", "green", "red", "nir"), {0: NO_CLOUD, 255: CLOUD},
            {"sensor": "landsat-8-9", "level": "TOA", "scale": 2e-5, "offset": -0.1, "nodata": 0.0},
            "number × 2e-5 − 0.1, without the sun, which the patches do not tell", 30.0, "binary",
            (
                Published(
                    "Cloud-Net", "IoU", {"cloud": round(value / 100, 6)}, "whole test scenes",
                    "an aggregator (wizwand), not a paper",
                ),
            ),
            "the published figure",
        )
        for number, value in ((38, 87.3), (95, 90.8))
    ),
    PublicSet(
        "oncloudn", "On Cloud N, DrivenData", "https://www.drivendata.org/competitions/83/cloud-cover",
        readers.on_cloud_n, "train_features/*/B0*.tif, train_labels/*.tif", ("B02", "B03", "B04", "B08"),
        {0: NO_CLOUD, 1: CLOUD}, {**TOA_S2, "level": "BOA"}, OF_S2, 10.0, "binary",
        unconfirmed="that numbers are of level 2A without an offset",
    ),
    PublicSet(
        "iris", "Sentinel-2 Cloud Mask Catalogue (IRIS), 513 scenes", "https://doi.org/10.5281/zenodo.4172871",
        readers.iris, "subscenes/*.npy, masks/*.npy", S2, {0: CLEAR, 1: CLOUD, 2: SHADOW},
        {**TOA_S2, "scale": 1.0}, "reflectance", 20.0, unconfirmed="the layout of the files",
    ),
    _pictures("whu", "HRC_WHU", {0: NO_CLOUD, 1: CLOUD}, 4.0, 89.05),
    _pictures("gf1", "GF12MS-WHU, GF-1", {0: NO_CLOUD, 1: CLOUD}, 8.0, 92.55),
    _pictures("gf2", "GF12MS-WHU, GF-2", {0: NO_CLOUD, 1: CLOUD}, 4.0, 83.02),
    _pictures("l8biome-png", "L8 Biome as pictures", {0: CLEAR, 1: SHADOW, 2: THIN, 3: THICK}, 30.0, 57.53),
    _pictures("cloudsen12-png", "CloudSEN12-High as pictures, level 1C", HIGH, 10.0, 74.18),
)  # fmt: skip
SETS: Mapping[str, PublicSet] = {row.name: row for row in _ROWS}


def scenes(name: str, path: str | os.PathLike[str]) -> Iterator[Labelled]:
    """Yield the labelled scenes of a public set, one after the other; bands stay lazy.

    Parameters
    ----------
    name : str
        One of `SETS`: ``'l8biome'``, ``'pixbox-s2'`` …
    path : path
        The folder where the set was unpacked.

    Returns
    -------
    iterator of Labelled
        In the order of their names.

    Raises
    ------
    CloudMaskError
        An unknown set.
    FileError
        A file is missing, damaged, or not as the set has it.

    Examples
    --------
    >>> next(scenes("l8biome", "no-such-folder"))
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.FileError: found: no folder 'no-such-folder'
    expected: the folder of L8 Biome, 96 scenes: **/LC8*.TIF or LC8*_B*.TIF, LC8*_fixedmask.TIF or .img, LC8*_MTL.txt
    try: ls .
    """
    if not is_one_of(name, SETS):
        raise FileError(f"data set {name!r}", f"one of {list(SETS)}", f"--dataset {close_to(name, SETS, 'l8biome')}")
    one, root = SETS[name], Path(path)
    if not root.is_dir():
        raise FileError(f"no folder {str(root)!r}", f"the folder of {one.title}: {one.layout}", f"ls {root.parent}")
    yield from one.reader(one, root)
