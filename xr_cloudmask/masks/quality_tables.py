"""Quality bands of products: which codes mean what, as data.

Of the rules of a product the first that fits a code decides, so they stand in the order in which users mask: no data,
cloud, cirrus, shadow, snow, water, land. A code that fits none is no data: what is not known is not clear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from xr_cloudmask.masks.schemes import SURFACES, VOCABULARY

BITS = 16  # as many as any of these products has
CODES = 1 << BITS
ALL_BITS = CODES - 1
NO_DATA = VOCABULARY.index("no_data")


@dataclass(frozen=True)
class Rule:
    """What a code means where some of its bits have a value.

    Attributes
    ----------
    meaning : str
        A name of `schemes.VOCABULARY`.
    values : tuple of int
        Any of them.
    bits : int
        The bits that are compared; all of them in products that have a code per class.
    """

    meaning: str
    values: tuple[int, ...]
    bits: int = ALL_BITS

    def fits(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return whether the rule fits each code."""
        return np.isin(codes & self.bits, self.values)


@dataclass(frozen=True)
class Product:
    """A quality band.

    Attributes
    ----------
    kind : str
        What users type.
    title : str
    names : tuple of str
        Names of the band, in lower case, by which it is known when nothing else is said.
    rules : tuple of Rule
    source : str
    """

    kind: str
    title: str
    names: tuple[str, ...]
    rules: tuple[Rule, ...]
    source: str

    @cached_property
    def meanings(self) -> npt.NDArray[np.uint8]:
        """The position in `VOCABULARY` of what each code means; ``(65536,)``."""
        codes = np.arange(CODES)
        table = np.full(CODES, NO_DATA, "uint8")
        for rule in reversed(self.rules):
            table[rule.fits(codes)] = VOCABULARY.index(rule.meaning)
        return table

    @property
    def scheme(self) -> str:
        """The scheme that has room for all it tells apart."""
        told = {rule.meaning for rule in self.rules}
        return "sensei" if told & set(SURFACES) - {"clear"} else "cloudsen12"


def coded(meanings: Mapping[str, int | Iterable[int]]) -> tuple[Rule, ...]:
    """Return the rules of a product with a code per class.

    Examples
    --------
    >>> coded({"clear": 127, "thick_cloud": [254, 255]})[1].values
    (254, 255)
    """
    return tuple(Rule(name, (codes,) if isinstance(codes, int) else tuple(codes)) for name, codes in meanings.items())


def bit(meaning: str, position: int, value: int = 1, width: int = 1) -> Rule:
    """Return the rule of a bit, or of some bits that are one number."""
    return Rule(meaning, (value << position,), ((1 << width) - 1) << position)


# https://sentiwiki.copernicus.eu/web/s2-processing, level 2A. Sen2Cor's "unclassified" is what it could not tell.
SCL = coded(
    {
        "no_data": [0, 1, 7],
        "thick_cloud": [8, 9],
        "thin_cloud": 10,
        "cloud_shadow": 3,
        "snow": 11,
        "water": 6,
        "land": [2, 4, 5],
    }
)
# Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619), table 6-3; the same bits in Landsat 4-7.
QA_PIXEL = (
    bit("no_data", 0),
    bit("thick_cloud", 3),
    bit("thick_cloud", 1),  # the rim around cloud
    bit("thin_cloud", 2),
    bit("cloud_shadow", 4),
    bit("snow", 5),
    bit("water", 7),
    bit("land", 6),
)
FMASK = coded({"land": 0, "water": 1, "cloud_shadow": 2, "snow": 3, "thick_cloud": 4})

PRODUCTS: Mapping[str, Product] = {
    product.kind: product
    for product in (
        Product(
            "scl",
            "Sentinel-2 scene classification (Sen2Cor)",
            ("scl", "s2:scl", "scene_classification"),
            SCL,
            "Copernicus SentiWiki, S2 processing, level 2A",
        ),
        Product(
            "qa60",
            "Sentinel-2 QA60",
            ("qa60",),
            (bit("thick_cloud", 10), bit("thin_cloud", 11), Rule("clear", (0,))),
            "Earth Engine catalogue, COPERNICUS/S2_SR_HARMONIZED",
        ),
        Product(
            "cldprb",
            "Sentinel-2 cloud probability in percent, cloud from 50",
            ("msk_cldprb", "cldprb", "cld"),
            coded({"clear": range(50), "thick_cloud": range(50, 101)}),
            "Copernicus SentiWiki, S2 processing, level 2A",
        ),
        Product(
            "clp",
            "cloud probability of s2cloudless, 0-255, cloud from 102 (.4)",
            ("clp",),
            coded({"clear": range(102), "thick_cloud": range(102, 256)}),
            "Sentinel Hub documentation, cloud masks; the threshold is that of s2cloudless",
        ),
        Product(
            "clm",
            "cloud mask of s2cloudless as Sentinel Hub gives it",
            (),
            coded({"clear": 0, "thick_cloud": 1}),
            "Sentinel Hub documentation, cloud masks",
        ),
        Product(
            "qa_pixel",
            "Landsat Collection 2 QA_PIXEL",
            ("qa_pixel", "landsat:qa_pixel", "oa_qa_pixel"),
            QA_PIXEL,
            "USGS LSDS-1619, table 6-3",
        ),
        Product(
            "pixel_qa",
            "Landsat Collection 1 surface reflectance, pixel_qa",
            ("pixel_qa",),
            (
                bit("no_data", 0),
                bit("thick_cloud", 5),
                bit("thin_cloud", 8, 3, 2),
                bit("cloud_shadow", 3),
                bit("snow", 4),
                bit("water", 2),
                bit("land", 1),
            ),
            "USGS LSDS-1368, table 7-6",
        ),
        Product(
            "bqa",
            "Landsat Collection 1 level 1, BQA",
            ("bqa",),
            (
                bit("no_data", 0),
                bit("thick_cloud", 4),
                bit("thin_cloud", 11, 3, 2),
                bit("cloud_shadow", 7, 3, 2),
                bit("snow", 9, 3, 2),
                Rule("land", (0,), 1 << 4),
            ),
            "USGS LSDS-1873, table 3-2",
        ),
        Product(
            "hls",
            "HLS 2 Fmask",
            (),
            (
                Rule("no_data", (255,)),
                bit("thick_cloud", 1),
                bit("thick_cloud", 2),  # beside cloud
                bit("thin_cloud", 0),
                bit("cloud_shadow", 3),
                bit("snow", 4),
                bit("water", 5),
                Rule("land", tuple(level << 6 for level in range(4))),  # the levels of aerosol
            ),
            "HLS product user guide 2.0, table 9",
        ),
        Product(
            "fmask", "Fmask 4 and 5, and BDC's Fmask", ("fmask4", "fmask5"), FMASK, "doi:10.1016/j.rse.2019.05.024"
        ),
        Product(
            "oa_fmask",
            "Fmask of Digital Earth Australia",
            ("oa_fmask",),
            coded({"land": 1, "thick_cloud": 2, "cloud_shadow": 3, "snow": 4, "water": 5}),
            "DEA knowledge hub, ga_s2am_ard_3",
        ),
        Product(
            "oa_s2cloudless",
            "s2cloudless of Digital Earth Australia",
            ("oa_s2cloudless_mask", "oa_s2cloudless"),
            coded({"clear": 1, "thick_cloud": 2}),
            "DEA knowledge hub, ga_s2am_ard_3",
        ),
        Product(
            "cmask",
            "CMASK of Brazil Data Cube",
            ("cmask",),
            coded({"clear": 127, "thick_cloud": 255}),
            "INPE, Brazil Data Cube, CBERS-4/WFI",
        ),
        Product(
            "state_1km",
            "MODIS state_1km",
            ("state_1km", "sur_refl_state_500m", "sur_refl_state_1km", "state_qa"),
            (
                Rule("no_data", (65535,)),
                bit("thick_cloud", 0, 1, 2),
                bit("thick_cloud", 0, 2, 2),  # mixed
                bit("no_data", 0, 3, 2),  # not set
                bit("thin_cloud", 8, 3, 2),
                bit("thin_cloud", 8, 2, 2),
                bit("cloud_shadow", 2),
                bit("snow", 12),
                *(bit("land", 3, kind, 3) for kind in (1, 2, 4)),
                *(bit("water", 3, kind, 3) for kind in (0, 3, 5, 6, 7)),
            ),
            "MOD09 user's guide 1.4, table 13",
        ),
        Product(
            "viirs_qf1",
            "VIIRS surface reflectance, QF1",
            ("surfreflect_qf1", "surfreflect_qf1_1", "qf1"),
            (
                bit("no_data", 0, 0, 2),  # quality of the cloud mask: poor
                bit("thick_cloud", 2, 3, 2),
                bit("thick_cloud", 2, 2, 2),
                bit("clear", 2, 0, 2),
                bit("clear", 2, 1, 2),
            ),
            "VIIRS surface reflectance user's guide, collection 1, table 9",
        ),
        Product(
            "udm",
            "PlanetScope UDM, the first",
            ("udm", "udm1"),
            (bit("no_data", 0), bit("thick_cloud", 1), Rule("clear", (0,))),
            "Planet, imagery product specification, unusable data mask",
        ),
        Product(
            "udm2",
            "PlanetScope UDM2, its bands as bits: clear, snow, shadow, light haze, heavy haze, cloud",
            ("udm2",),
            (
                bit("thick_cloud", 5),
                bit("thin_cloud", 4),
                bit("thin_cloud", 3),
                bit("cloud_shadow", 2),
                bit("snow", 1),
                bit("land", 0),
            ),
            "Planet, imagery product specification, usable data mask",
        ),
        Product(
            "maja",
            "CLM of MAJA and MUSCATE",
            ("clm_r1", "clm_r2"),
            (
                Rule("thick_cloud", (4, 8, 12), 12),  # by one date, by several
                bit("thin_cloud", 7),  # high, by 1.38 um
                bit("thin_cloud", 4),
                bit("thick_cloud", 1),
                bit("cloud_shadow", 5),
                bit("cloud_shadow", 6),
                bit("thick_cloud", 0),  # cloud or shadow
                Rule("clear", (0,)),
            ),
            "CNES, MAJA products, https://labo.obs-mip.fr/multitemp/",
        ),
        Product(
            "qai",
            "FORCE QAI",
            ("qai",),
            (
                bit("no_data", 0),
                bit("thick_cloud", 1, 1, 2),  # less confident, with the rim
                bit("thick_cloud", 1, 2, 2),
                bit("thin_cloud", 1, 3, 2),
                bit("cloud_shadow", 3),
                bit("snow", 4),
                bit("water", 5),
                Rule("land", (0,), 0b111),
            ),
            "FORCE documentation, quality bits",
        ),
        Product(
            "kappamask",
            "KappaMask",
            (),
            coded({"clear": 1, "cloud_shadow": 2, "thin_cloud": 3, "thick_cloud": 4}),
            "doi:10.3390/rs13204100",
        ),
    )
}

# Names that several products share.
AMBIGUOUS: Mapping[str, tuple[str, ...]] = {"fmask": ("hls", "fmask"), "clm": ("clm", "maja")}

# Words of flags and of STAC classes, in small letters and underscores.
WORDS: Mapping[str, str] = {
    "no_data": """no_data nodata fill fill_data designated_fill missing invalid not_observed background blackfill
        unusable saturated defective saturated_or_defective unclassified undefined""",
    "clear": "clear clear_sky cloud_free cloudless no_cloud not_cloud valid confident_clear probably_clear",
    "land": """land clear_land land_clear vegetation not_vegetated non_vegetated soil bare_soil bare_soils dark_area
        dark_area_pixel dark_area_pixels dark_feature_shadow topographic_shadow topographic_casted_shadow
        topographic_casted_shadows cast_shadow casted_shadow casted_shadows""",
    "water": "water clear_water water_clear inland_water deep_water shallow_water ocean sea",
    "snow": "snow ice snow_ice ice_snow snow_or_ice snow_and_ice clear_snow",
    "thin_cloud": """thin thin_cloud thin_clouds cirrus thin_cirrus cirrus_cloud cirrus_clouds high_clouds
        semi_transparent_cloud translucent_cloud haze light_haze heavy_haze""",
    "thick_cloud": """thick thick_cloud thick_clouds cloud clouds cloudy opaque opaque_cloud opaque_clouds
        confident_cloudy probably_cloudy mixed mixed_clouds dilated dilated_cloud cloud_dilated cloud_buffer
        adjacent_cloud cloud_adjacent adjacent_to_cloud adjacent_to_cloud_or_shadow cloud_medium cloud_high
        cloud_medium_proba cloud_high_proba medium_proba_clouds high_proba_clouds
        cloud_medium_probability cloud_high_probability medium_probability_cloud high_probability_cloud""",
    "cloud_shadow": "shadow shadows cloud_shadow cloud_shadows clouds_shadow",
}
