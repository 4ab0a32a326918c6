"""Readers of PixBox: labelled points of whole products.

Source of the classes and of which product is which: the validation notebooks of OmniCloudMask,
https://github.com/DPIRD-DMA/OmniCloudMask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.datasets import landsat, opening
from xr_cloudmask.datasets.labelled import Labelled, coded
from xr_cloudmask.errors import FileError, refusing

if TYPE_CHECKING:
    import pandas as pd

    from xr_cloudmask.datasets.table import PublicSet

IS_CLEAR, IS_CLOUD, IS_SHADOW, ARE_BOTH, UNKNOWN = 0, 1, 2, 3, 255
CLOUDS_OF_S2, CLEAR_OF_S2 = (2, 3, 4, 5, 6, 8, 9, 10, 11, 12), (0, 1, 7)
SHADOW_OF_S2, SUNLIT_OF_S2 = 3, (0, 1, 2, 4)

OF_S2 = {
    5472572: "S2A_MSIL1C_20171205T143751_N0206_R096_T19KEU_20171205T180316",
    183807605: "S2A_MSIL1C_20170929T211511_N0205_R143_T06VWN_20170929T211510",
    273136892: "S2A_MSIL1C_20180126T182631_N0206_R127_T11SPC_20180126T201415",
    433871481: "S2A_MSIL1C_20180303T140051_N0206_R067_T19FDV_20180303T202004",
    522655885: "S2A_MSIL1C_20171107T150421_N0206_R125_T22WES_20171107T165127",
    623596858: "S2A_MSIL1C_20170629T103021_N0205_R108_T31TFJ_20170629T103020",
    701404038: "S2A_MSIL1C_20170908T100031_N0205_R122_T32SPJ_20170908T100655",
    784585929: "S2B_MSIL1C_20170731T102019_N0205_R065_T33VVE_20170731T102348",
    872013732: "S2A_MSIL1C_20180223T092031_N0206_R093_T36VUM_20180223T113049",
    885047116: "S2B_MSIL1C_20171210T060229_N0206_R091_T42RUN_20171210T071154",
    960993216: "S2A_MSIL1C_20180106T032121_N0206_R118_T48NUG_20180106T083912",
    1041598282: "S2A_MSIL1C_20180222T012651_N0206_R074_T54TWN_20180222T031349",
    1126775487: "S2B_MSIL1C_20170725T183309_N0205_R127_T11SPC_20170725T183309",
    1211409580: "S2A_MSIL1C_20170209T154541_N0204_R111_T17PPK_20170209T154543",
    1248336059: "S2A_MSIL1C_20170725T142751_N0205_R053_T19GBQ_20170725T143854",
    1309065466: "S2B_MSIL1C_20170712T113319_N0205_R080_T28PCV_20170712T114542",
    1386821964: "S2A_MSIL1C_20170726T102021_N0205_R065_T33VVE_20170726T102259",
    1407300752: "S2A_MSIL1C_20170113T072241_N0204_R006_T40UEE_20170113T072238",
    1470797653: "S2A_MSIL1C_20180217T053911_N0206_R005_T44SKJ_20180217T082149",
    1559102360: "S2A_MSIL1C_20170917T052641_N0205_R105_T48XWG_20170917T052642",
    1650478641: "S2A_MSIL1C_20170916T143741_N0205_R096_T19KEU_20170916T143942",
    1727138395: "S2A_MSIL1C_20170620T181921_N0205_R127_T11SPC_20170620T182846",
    1727140056: "S2A_MSIL1C_20180302T142851_N0206_R053_T19GBQ_20180302T192732",
    1821333386: "S2B_MSIL1C_20180302T150259_N0206_R125_T22WES_20180302T183800",
    1832501017: "S2B_MSIL1C_20170728T101029_N0205_R022_T32TPS_20170728T101024",
    1892503998: "S2B_MSIL1C_20170916T101019_N0205_R022_T32SPJ_20170916T101354",
    1899752240: "S2A_MSIL1C_20170712T071621_N0205_R006_T40UEE_20170712T071617",
    2019111565: "S2A_MSIL1C_20170706T051651_N0205_R062_T48XWG_20170706T051649",
    2065997836: "S2A_MSIL1C_20180102T140051_N0206_R067_T21LXK_20180102T154324",
}
OF_L8 = {
    1093075446: "LC81970222014109LGN00", 1113395679: "LC81980232014276LGN00", 1113398638: "LC82030242015058LGN00",
    1191608737: "LC81960302014022LGN00", 1278115010: "LC81970182015080LGN00", 1278117898: "LC81970222013186LGN00",
    1710711454: "LC81980222014260LGN00", 1797484437: "LC81990242014075LGN00", 1978132186: "LC81990242014107LGN00",
    2055810806: "LC82030242014103LGN00", 2055813758: "LC82040212013251LGN00",
}  # fmt: skip


def pixbox_s2(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``pixbox_sentinel2_cmix_*.csv`` and the ``.SAFE`` folders of its 29 products, anywhere below the root."""
    from xr_cloudmask.files import open_cube

    columns = ("CLOUD_CHARACTERISTICS_ID", "SHADOW_ID")
    for table, name, path in _products(one, root, "pixbox_sentinel2*.csv", columns, OF_S2):
        kind, shade = (table[column] for column in columns)
        cloud, shadow = kind.isin(CLOUDS_OF_S2), shade == SHADOW_OF_S2
        clear = kind.isin(CLEAR_OF_S2) & shade.isin(SUNLIT_OF_S2)
        safe = _folder(root, f"{name}.SAFE", one)
        yield _labelled(one, name, open_cube(safe), table, (cloud, shadow, clear), (safe / "MTD_MSIL1C.xml", path))


def pixbox_l8(one: PublicSet, root: Path) -> Iterator[Labelled]:
    """Read ``pixbox_landsat8_cmix_*.csv`` and ``<scene>/<scene>_B*.TIF`` of its eleven products."""
    columns = ("PIXEL_SURFACE_TYPE_ID", "CLOUD_SHADOW_ID")
    for table, name, path in _products(one, root, "pixbox_landsat8*.csv", columns, OF_L8):
        cloud, shadow = table[columns[0]].isin((0, 1)), table[columns[1]] == 1
        folder = _folder(root, name, one)
        cube, files = landsat.bands_of(one, folder, name, landsat.ALL_OF_LANDSAT_8, folder.glob(f"{name}*_MTL.txt"))
        yield _labelled(one, name, cube, table, (cloud, shadow, ~(cloud | shadow)), (*files, path))


def _products(
    one: PublicSet, root: Path, pattern: str, columns: tuple[str, ...], names: dict[int, str]
) -> Iterator[tuple[pd.DataFrame, str, Path]]:
    import pandas as pd

    path = opening.found(root, pattern, one.layout)[0]
    needed = ["PRODUCT_ID", "PIXEL_X", "PIXEL_Y", *columns]
    with refusing(FileError, f"{str(path)!r}, which cannot be read", f"a table with {needed}", opening.AGAIN):
        table = pd.read_csv(path, usecols=needed, dtype="int64")
    unknown = sorted(set(table["PRODUCT_ID"]) - set(names))
    if unknown:
        raise FileError(f"products {unknown[:3]} in {str(path)!r}", f"those of {one.title}", opening.AGAIN)
    for product in sorted(set(table["PRODUCT_ID"].tolist())):
        yield table[table["PRODUCT_ID"] == product], names[product], path


def _folder(root: Path, name: str, one: PublicSet) -> Path:
    folders = [path for path in sorted(root.rglob(name)) if path.is_dir()]
    if not folders:
        raise opening.missing(root / name, one.layout)
    return folders[0]


def _labelled(  # noqa: PLR0917 - two readers call it
    one: PublicSet, name: str, cube: Any, table: pd.DataFrame, kinds: tuple[Any, Any, Any], files: tuple[Path, ...]
) -> Labelled:
    cloud, shadow, clear = (kind.to_numpy() for kind in kinds)
    codes = np.select([cloud & shadow, cloud, shadow, clear], [ARE_BOTH, IS_CLOUD, IS_SHADOW, IS_CLEAR], UNKNOWN)
    known = codes != UNKNOWN
    rows, columns = (table[axis].to_numpy("intp")[known] for axis in ("PIXEL_Y", "PIXEL_X"))
    size = cube.sizes["y"], cube.sizes["x"]
    if ((rows < 0) | (rows >= size[0]) | (columns < 0) | (columns >= size[1])).any():
        raise FileError(f"points of {name!r} outside of its {size} pixels", "points of that product", opening.AGAIN)
    truth, meanings = coded(codes[known], one.codes)
    return Labelled(name, cube, truth, meanings, dict(one.told), files, (rows, columns))
