"""Products as ESA and USGS deliver them, in miniature: the folders, their metadata files, their images."""

from __future__ import annotations

import json

import numpy as np
import rasterio
from affine import Affine

WEST, NORTH = 600_000.0, 5_000_040.0
SIDE = 60  # pixels of 10 m: a multiple of 6, so that 20 m and 60 m bands fit in

S2_RESOLUTIONS = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B09": 60,
    "B10": 60, "B11": 20, "B12": 20,
}  # fmt: skip


def write_raster(path, bands, pixel=10.0, driver="GTiff", names=(), west=WEST, crs="EPSG:32632", **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", driver=driver, count=count, height=height, width=width, dtype=bands.dtype, crs=crs,
        transform=Affine(pixel, 0, west, 0, -pixel, NORTH), **profile,
    ) as file:  # fmt: skip
        file.write(bands)
        for i, name in enumerate(names, 1):
            file.set_band_description(i, name)
    return path


def numbers(side=SIDE, seed=0, low=1001, high=6000):
    return np.random.default_rng(seed).integers(low, high, (side, side), dtype="uint16")


# Sentinel-2 ---------------------------------------------------------------------------------------------------------

QUANTIFICATION = "QUANTIFICATION_VALUE unit='none'>10000</"
S2 = {  # level -> name in the metadata, file, quantification, offset, list of offsets
    "L1C": ("1C", "MTD_MSIL1C.xml", "<{q}QUANTIFICATION_VALUE>", "RADIO_ADD_OFFSET", "Radiometric_Offset_List"),
    "L2A": (
        "2A",
        "MTD_MSIL2A.xml",
        "<BOA_{q}BOA_QUANTIFICATION_VALUE>",
        "BOA_ADD_OFFSET",
        "BOA_ADD_OFFSET_VALUES_LIST",
    ),
}


def s2_images(level, granule):
    """Return band -> (pixel size, path without suffix); level 2A repeats bands at coarser resolutions."""
    stem = "T32TQM_20220811T101559"
    if level == "L1C":
        return [(band, res, f"{granule}/IMG_DATA/{stem}_{band}") for band, res in S2_RESOLUTIONS.items()]
    entries = [
        (band, coarse, f"{granule}/IMG_DATA/R{coarse}m/{stem}_{band}_{coarse}m")
        for band, res in {**S2_RESOLUTIONS, "SCL": 20}.items()
        for coarse in (10, 20, 60)
        if coarse >= res and band != "B10"
    ]
    return [*entries, ("TCI", 10, f"{granule}/IMG_DATA/R10m/{stem}_TCI_10m")]


def make_safe(root, level="L1C", baseline="04.00", day="20220811", offset=-1000, west=WEST, sun=True):
    name, metadata, quantification, tag, group = S2[level]
    folder = root / f"S2A_MSI{level}_{day}T101559_N{baseline.replace('.', '')}_R065_T32TQM_{day}T121211.SAFE"
    granule = f"GRANULE/{level}_T32TQM_A037291_{day}T101601"
    images = s2_images(level, granule)
    offsets = "".join(f"<{tag} band_id='{i}'>{offset}</{tag}>" for i in range(13)) if offset is not None else ""
    start = f"{day[:4]}-{day[4:6]}-{day[6:]}T10:15:59.024Z"
    for band, resolution, path in images:
        if band == "TCI":
            continue
        seed = list(S2_RESOLUTIONS).index(band) if band in S2_RESOLUTIONS else 50
        array = numbers(SIDE * 10 // resolution, seed)[None]
        array = (array % 12).astype("uint8") if band == "SCL" else array
        write_raster(
            folder / f"{path}.jp2", array, resolution, "JP2OpenJPEG", west=west, QUALITY="100", REVERSIBLE="YES"
        )
    (folder / metadata).write_text(
        f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{name}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{name}.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{start}</PRODUCT_START_TIME>
      <PRODUCT_URI>{folder.name}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{name}</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <Datatake datatakeIdentifier="GS2A"><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake>
      <Product_Organisation><Granule_List><Granule imageFormat="JPEG2000">
        {"".join(f"<IMAGE_FILE>{path}</IMAGE_FILE>" for _, _, path in images)}
      </Granule></Granule_List></Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      {quantification.format(q=QUANTIFICATION)}<{group}>{offsets}</{group}>
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{name}_User_Product>"""
    )
    if sun:
        (folder / granule / "MTD_TL.xml").write_text(
            "<n1:Level_Tile_ID xmlns:n1='x'><n1:Geometric_Info><Tile_Angles><Mean_Sun_Angle>"
            "<ZENITH_ANGLE unit='deg'>33.5</ZENITH_ANGLE><AZIMUTH_ANGLE unit='deg'>152.25</AZIMUTH_ANGLE>"
            "</Mean_Sun_Angle></Tile_Angles></n1:Geometric_Info></n1:Level_Tile_ID>"
        )
    return folder


SUN_ELEVATION = 42.125


def landsat_groups(level, product):
    prefix = {"L1": "", "L2": "SR_"}[level]
    bands = [*range(1, 10)] if level == "L1" else [*range(1, 8)]
    scale, offset = {"L1": ("2.0000E-05", "-0.100000"), "L2": ("2.75e-05", "-0.2")}[level]
    factors = {f"REFLECTANCE_MULT_BAND_{n}": scale for n in bands} | {
        f"REFLECTANCE_ADD_BAND_{n}": offset for n in bands
    }
    level_1 = {
        key: value
        for n in range(1, 10)
        for key, value in ((f"REFLECTANCE_MULT_BAND_{n}", "2.0000E-05"), (f"REFLECTANCE_ADD_BAND_{n}", "-0.100000"))
    }
    contents = {
        "LANDSAT_PRODUCT_ID": product,
        "PROCESSING_LEVEL": {"L1": "L1TP", "L2": "L2SP"}[level],
        "COLLECTION_NUMBER": "02",
        **{f"FILE_NAME_BAND_{n}": f"{product}_{prefix}B{n}.TIF" for n in bands},
        "FILE_NAME_QUALITY_L1_PIXEL": f"{product}_QA_PIXEL.TIF",
    }
    image = {
        "SPACECRAFT_ID": "LANDSAT_9", "SENSOR_ID": "OLI_TIRS", "DATE_ACQUIRED": "2022-08-11",
        "SCENE_CENTER_TIME": "10:03:21.1234560Z", "SUN_AZIMUTH": "140.5", "SUN_ELEVATION": str(SUN_ELEVATION),
    }  # fmt: skip
    groups = {"PRODUCT_CONTENTS": contents, "IMAGE_ATTRIBUTES": image}
    if level == "L2":
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = factors
    return groups | {"LEVEL1_RADIOMETRIC_RESCALING": level_1}


def to_odl(groups):
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for name, fields in groups.items():
        quoted = {
            k: v if v.replace(".", "").replace("-", "").replace("E", "").isdigit() else f'"{v}"'
            for k, v in fields.items()
        }
        lines += [f"  GROUP = {name}", *(f"    {k} = {v}" for k, v in quoted.items()), f"  END_GROUP = {name}"]
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def to_xml(groups):
    inner = "".join(
        f"<{g}>" + "".join(f"<{k}>{v}</{k}>" for k, v in fields.items()) + f"</{g}>" for g, fields in groups.items()
    )
    return f"<LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>"


METADATA = {"txt": to_odl, "xml": to_xml, "json": lambda groups: json.dumps({"LANDSAT_METADATA_FILE": groups})}


def make_landsat(root, level="L2", kinds=("txt", "xml", "json")):
    product = f"LC09_{'L1TP' if level == 'L1' else 'L2SP'}_193028_20220811_20230402_02_T1"
    folder = root / product
    groups = landsat_groups(level, product)
    for name in (value for key, value in groups["PRODUCT_CONTENTS"].items() if key.startswith("FILE_NAME")):
        pixel = 15 if name.endswith("_B8.TIF") else 30
        write_raster(folder / name, numbers(40 * 30 // pixel, len(name), 7000, 20000)[None], pixel)
    for kind in kinds:
        (folder / f"{product}_MTL.{kind}").write_text(METADATA[kind](groups))
    return folder


# CBERS and Amazonia-1 -----------------------------------------------------------------------------------------------

CBERS_COEFFICIENTS = {5: 0.947982, 6: 0.965583, 7: 0.946315, 8: 0.739644}
CBERS_SUN = (47.8578, 35.2135)  # elevation, azimuth


def cbers_description(coefficients, sun, instrument, number, day, name="CBERS"):
    """Return what INPE says of a scene, or of one camera's part of it."""
    values = "".join(f'<band name="{band}">{value}</band>' for band, value in coefficients.items() if value is not None)
    block = f"<absoluteCalibrationCoefficient>{values}</absoluteCalibrationCoefficient>" if values else ""
    position = f"<elevation>{sun[0]}</elevation><sunAzimuth>{sun[1]}</sunAzimuth>" if sun else ""
    return f"""
  <satellite><name>{name}</name><number>{number}</number><instrument channel="1">{instrument}</instrument></satellite>
  <availableBands>{"".join(f"<band>{band}</band>" for band in coefficients)}</availableBands>
  <image>
    <level>4</level>
    <timeStamp><begin>{day}T13:26:01.8</begin><center>{day}T13:26:08.950786</center></timeStamp>
    {f"<sunPosition>{position}</sunPosition>" if sun else ""}
    <gain><band cal="2" name="5">0x7F</band></gain>
    {block}
  </image>"""


def cbers_xml(coefficients=None, suns=(CBERS_SUN,), instrument="MUX", number="4A", day="2020-08-08", **names):
    """Return the XML of a band; two suns make the mosaic of two cameras."""
    coefficients = CBERS_COEFFICIENTS if coefficients is None else coefficients
    parts = [cbers_description(coefficients, sun, instrument, number, day, **names) for sun in suns]
    if len(parts) > 1:
        parts = [f"<{tag}>{part}</{tag}>" for tag, part in zip(("leftCamera", "rightCamera"), parts, strict=True)]
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
        f'<prdf xmlns="http://www.gisplan.com.br/xmlsat" generator="G2T">{"".join(parts)}</prdf>'
    ).encode()


def make_cbers(root, instrument="MUX", day="2020-08-08", xml=None, bands=CBERS_COEFFICIENTS):
    scene = f"CBERS_4A_{instrument}_{day.replace('-', '')}_201_137_L4"
    for band in bands:
        pixel = 2 if band == 0 else 8
        array = numbers(SIDE * 8 // pixel, band, 1, 1024)[None]
        write_raster(root / scene / f"{scene}_BAND{band}.tif", array, pixel)
        (root / scene / f"{scene}_BAND{band}.xml").write_bytes(xml or cbers_xml(day=day))
    return root / scene
