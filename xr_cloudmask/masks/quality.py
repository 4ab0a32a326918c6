"""Masks of quality bands: SCL, QA_PIXEL, Fmask and whatever says by flags what its codes mean."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Set
from functools import partial, reduce
from operator import or_
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube.layout import BAND_NAMES
from xr_cloudmask.cube.metadata import as_number
from xr_cloudmask.errors import CloudMaskError, close_to, is_one_of
from xr_cloudmask.masks.coverage import with_coverage
from xr_cloudmask.masks.quality_tables import ALL_BITS, AMBIGUOUS, BITS, CODES, PRODUCTS, WORDS, Product, Rule
from xr_cloudmask.masks.schemes import SCHEMES, SURFACES, VOCABULARY, flag_attrs
from xr_cloudmask.names import MASK_NAME

Mapped: TypeAlias = Mapping[int | str, str]

# What decides first where several bits are set.
ORDER = ("no_data", "thick_cloud", "thin_cloud", "cloud_shadow", "snow", "water", "land", "clear")
MEANINGS = {word: meaning for meaning, words in WORDS.items() for word in words.split()}
# Of bits, what says nothing of a pixel's class.
SILENT = re.compile(r"^(not|no|non)_|^unset|confidence|aerosol|saturat|occlusion|illumination|slope|vapo|sun_|dropped")
UDM2_BANDS = ("clear", "snow", "shadow", "light_haze", "heavy_haze", "cloud")
SPELLINGS = {"haze_light": "light_haze", "haze_heavy": "heavy_haze"}


def from_quality(
    obj: xr.Dataset | xr.DataArray,
    band: str | None = None,
    kind: str | None = None,
    *,
    scheme: str | None = None,
    mapping: Mapped | None = None,
) -> xr.Dataset:
    """Return the mask that a quality band holds; lazy where the band is.

    Parameters
    ----------
    obj : Dataset or DataArray
        The band ``(time, y, x)`` or ``(y, x)``, or a cube that has it: integers, or floats with NaN for no data.
        Of PlanetScope's UDM2 the six bands ``clear``, ``snow``, ``shadow``, ``light_haze``, ``heavy_haze``, ``cloud``.
    band : str, optional
        Name of the band in a cube. By default the only one that is known by its name or by its flags.
    kind : str, optional
        Which product's codes they are, such as ``'scl'``, ``'qa_pixel'``, ``'hls'`` or ``'fmask'``. By default what the
        band says of itself (CF ``flag_values`` or ``flag_masks`` with ``flag_meanings``, STAC
        ``classification:classes`` or ``classification:bitfields``), else by its name.
    scheme : str, optional
        By default ``'sensei'`` where the band tells water and snow, else ``'cloudsen12'``.
    mapping : mapping, optional
        Codes, or words of flags, to class names where you mean another one: ``{7: 'land'}``, ``{'haze': 'clear'}``.

    Returns
    -------
    Dataset
        ``cloud_mask`` uint8 on the band's grid, with its coverage as coordinates, as `predict` returns it. Codes that
        nothing explains are no data, never clear.

    Raises
    ------
    CloudMaskError
        No such band, several, codes of an unknown product, or flags whose words are unknown.

    Examples
    --------
    >>> scl = xr.DataArray(np.uint8([[0, 4, 6], [9, 10, 3]]), dims=("y", "x"), name="SCL")
    >>> from_quality(scl, scheme="cloudsen12")["cloud_mask"].values
    array([[255,   0,   0],
           [  1,   2,   3]], dtype=uint8)
    """
    if scheme is not None and not is_one_of(scheme, SCHEMES):
        raise CloudMaskError(f"scheme {scheme!r}", f"one of {list(SCHEMES)}", "scheme='cloudsen12'")
    array = _of_numbers(_band(obj, band, kind))
    product = _product(array, kind, {} if mapping is None else mapping)
    name = scheme or product.scheme
    table = _codes(product, name)
    decode = partial(_decoded, table=table, no_data=SCHEMES[name].no_data)
    data = array.variable.data
    if array.chunks is not None:
        data = data.map_blocks(decode, dtype="uint8", meta=np.empty((0,) * array.ndim, "uint8"))
    else:
        data = decode(array.values)
    said = {
        "model": product.kind,
        "model_variant": str(array.name or ""),
        "source": f"{product.title}: {product.source}",
    }
    mask = xr.DataArray(data, array.coords, array.dims, MASK_NAME, flag_attrs(SCHEMES[name]) | said)
    mapped = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping"))
    mask.encoding = {} if mapped is None else {"grid_mapping": mapped}
    return with_coverage(mask, mask.to_dataset())


def is_quality(obj: xr.Dataset | xr.DataArray) -> bool:
    """Whether an object is one quality band and nothing else: known by its name, or saying what its codes mean."""
    arrays = dict(_arrays(obj))
    return set(UDM2_BANDS) <= _udm2(arrays).keys() or (len(arrays) == 1 and _is_known(*arrays.values()))


def _is_known(array: xr.DataArray) -> bool:
    if "scheme" in array.attrs or array.dtype.kind not in "iuf":
        return False
    return _named(array.name) is not None or any(True for _ in _flags(array.attrs))


def _udm2(arrays: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    return {SPELLINGS.get(word, word): array for name, array in arrays.items() if (word := _word(name))}


def _band(obj: xr.Dataset | xr.DataArray, band: str | None, kind: str | None) -> xr.DataArray:
    """Return the quality band of a cube."""
    if not isinstance(obj, xr.Dataset | xr.DataArray):
        raise CloudMaskError(f"a {type(obj).__name__}", "a Dataset or DataArray", "from_quality(cube, 'SCL')")
    arrays = dict(_arrays(obj))
    udm2 = _udm2(arrays)
    if band is None and (kind is None or is_one_of(kind, ["udm2"])) and set(UDM2_BANDS) <= set(udm2):
        return _stacked([udm2[name] for name in UDM2_BANDS])
    if is_one_of(kind, ["udm2"]) and udm2.keys() & set(UDM2_BANDS):  # the 1 of one of them would be the bit of clear
        raise CloudMaskError(
            f"bands {list(arrays)} for kind='udm2'",
            f"all of {list(UDM2_BANDS)}",
            "from_quality(cube), with the six bands",
        )
    if band is not None:
        if not is_one_of(band, arrays):
            raise CloudMaskError(
                f"no band {band!r}",
                f"one of {list(arrays)}",
                f"band={close_to(band, arrays, next(iter(arrays), 'SCL'))!r}",
            )
        return arrays[band]
    if isinstance(obj, xr.DataArray) and len(arrays) == 1:
        return next(iter(arrays.values()))
    found = [name for name, array in arrays.items() if _is_known(array)]
    if len(found) == 1:
        return arrays[found[0]]
    if found:
        raise CloudMaskError(f"quality bands {found}", "one of them", f"band={found[0]!r}")
    raise CloudMaskError(
        f"bands {list(arrays)}, none of which is known as a quality band",
        f"a name such as SCL or QA_PIXEL, or flags; else its name and its kind: {', '.join(PRODUCTS)}",
        "from_quality(cube, 'band', kind='scl')",
    )


def _arrays(obj: xr.Dataset | xr.DataArray) -> Iterator[tuple[str, xr.DataArray]]:
    if isinstance(obj, xr.Dataset):
        for name, array in obj.data_vars.items():
            mapping = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping"))
            if array.ndim >= 2:
                yield str(name), (obj.set_coords(mapping)[name] if mapping in obj.data_vars else array)
        return
    dim = next((name for name in BAND_NAMES if name in obj.dims and name in obj.coords), None)
    if dim is None:
        yield from [(name, obj.rename(name)) for name in [_own_name(obj)]]
        return
    for position, label in enumerate(obj[dim].values):
        one = obj.isel({dim: position})
        name = _own_name(one) if obj.sizes[dim] == 1 else str(label)
        yield name, one.drop_vars(dim).rename(name)


def _own_name(array: xr.DataArray) -> str:
    """Return what a band is called: stackstac says it by a coordinate, rioxarray numbers its only band."""
    labels = [str(array[dim].item()) for dim in BAND_NAMES if dim in array.coords and array[dim].ndim == 0]
    names = [str(array.name or ""), *labels]
    return next((name for name in names if _named(name) is not None), names[0])


def _of_numbers(array: xr.DataArray) -> xr.DataArray:
    if array.dtype.kind not in "iuf":
        raise CloudMaskError(
            f"band {str(array.name)!r} of {array.dtype}",
            "the product's codes: integers, or floats with NaN for no data",
            "cube['SCL'], as it was loaded",
        )
    return array


def _stacked(bands: list[xr.DataArray]) -> xr.DataArray:
    """Return the bands of a UDM2 as the bits of one number; NaN counts as not set."""
    codes = sum(((band == 1).astype("uint8") << np.uint8(i) for i, band in enumerate(bands)), start=np.uint8(0))
    return codes.rename("udm2").assign_attrs({})  # type: ignore[union-attr]


def _named(name: Hashable) -> tuple[str, ...] | None:
    """Return the kinds that a band of this name may be; None for a name that nobody knows."""
    word = str(name).lower()
    known = tuple(kind for kind, product in PRODUCTS.items() if word in product.names)
    return known or AMBIGUOUS.get(word)


def _product(array: xr.DataArray, kind: str | None, mapping: Mapped) -> Product:
    """Return the table of a band: the kind that is told, what its flags say, or what its name says."""
    if not isinstance(mapping, Mapping):
        raise CloudMaskError(f"mapping={mapping!r}", "codes or words to classes", "mapping={7: 'land'}")
    wrong = {
        key: name
        for key, name in mapping.items()
        if name not in VOCABULARY or not (isinstance(key, str) or _is_code(key))
    }
    if wrong:
        raise CloudMaskError(f"mapping={wrong}", f"codes or words to classes {list(VOCABULARY)}", "mapping={7: 'land'}")
    codes = tuple(Rule(name, (int(key),)) for key, name in mapping.items() if not isinstance(key, str))
    found = _told(array, kind, {_word(key): name for key, name in mapping.items() if isinstance(key, str)})
    product = Product(found.kind, found.title, found.names, (*codes, *found.rules), found.source)
    _require_no_data(array, product, {rule.values[0] for rule in codes})
    return product


def _is_code(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(0 <= value < CODES)


def _require_no_data(array: xr.DataArray, product: Product, settled: Set[int]) -> None:
    """Refuse a band whose own number for no data is a class of the product: such pixels would become clear."""
    for key in ("nodata", "_FillValue", "missing_value"):
        code = as_number(array.attrs.get(key))
        if code is None or not code.is_integer() or not _is_code(int(code)) or int(code) in settled:
            continue
        meaning = VOCABULARY[product.meanings[int(code)]]
        if meaning in SURFACES:
            raise CloudMaskError(
                f"band {str(array.name)!r} with {key}={code:g}, which is {meaning!r} in {product.title}",
                "one meaning of that number",
                f"from_quality(band, kind={product.kind!r}, mapping={{{code:g}: 'no_data'}}), or {meaning!r}"
                if product.kind in PRODUCTS
                else f"from_quality(band, mapping={{{code:g}: 'no_data'}}), or {meaning!r}",
            )


def _told(array: xr.DataArray, kind: str | None, words: Mapping[str, str]) -> Product:
    if kind is not None:
        if not is_one_of(kind, PRODUCTS):
            raise CloudMaskError(
                f"kind={kind!r}", f"one of {', '.join(PRODUCTS)}", f"kind={close_to(kind, PRODUCTS, 'scl')!r}"
            )
        return PRODUCTS[kind]
    named = _named(array.name) or ()
    flags = list(_flags(array.attrs))
    unknown = sorted({word for word, _, _ in flags if word not in words and word not in MEANINGS})
    if flags and not unknown:
        rules = [Rule(words.get(word) or MEANINGS[word], (value,), bits) for word, value, bits in flags]
        rules.sort(key=lambda rule: ORDER.index(rule.meaning))
        rules += _nothing_set(rules)
        return Product("flags", "what its flags say", (), tuple(rules), "attributes of the band")
    if len(named) == 1:
        return PRODUCTS[named[0]]
    if named:
        raise CloudMaskError(f"a band {array.name!r}", f"which of {list(named)} it is", f"kind={named[0]!r}")
    if flags:
        raise CloudMaskError(
            f"flags of band {str(array.name)!r} with the meanings {unknown}",
            f"words that are known, or what they mean: one of {list(VOCABULARY)}",
            f"from_quality(band, mapping={{{unknown[0]!r}: 'clear'}}) with the class you mean",
        )
    raise CloudMaskError(
        f"a band {str(array.name)!r} without flags, whose name tells no product",
        f"its kind: {', '.join(PRODUCTS)}",
        "from_quality(band, kind='scl'); mask.assign_attrs(scheme='cloudsen12') for a mask of this package",
    )


def _nothing_set(rules: list[Rule]) -> list[Rule]:
    """Return what it means that none of some bits is set, where none of them says that a pixel is clear."""
    bits = reduce(or_, (rule.bits for rule in rules))
    surface = {rule.meaning for rule in rules} & {"clear", "land"}
    return [] if surface or any(rule.bits == ALL_BITS for rule in rules) else [Rule("clear", (0,), bits)]


def _flags(attrs: Mapping[Any, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield what a band says of its codes: a word, a value and the bits that have it."""
    for entry in _entries(attrs.get("classification:classes")):
        if _is_code(entry.get("value")):
            yield _word(entry.get("name") or entry.get("description")), int(entry["value"]), ALL_BITS
    for field in _entries(attrs.get("classification:bitfields")):
        offset, length = field.get("offset", 0), field.get("length", 1)
        if not (_is_code(offset) and _is_code(length) and offset + length <= BITS):
            continue
        for entry in _entries(field.get("classes")):
            word = _word(entry.get("name") or entry.get("description"))
            silent = _is_silent(word) or _is_silent(_word(field.get("name")))
            if not silent and _is_code(entry.get("value")):
                yield word, int(entry["value"]) << offset, ((1 << length) - 1) << offset
    words = [_word(word) for word in str(attrs.get("flag_meanings", "")).split()]
    masks, values = (_numbers(attrs.get(name, [])) for name in ("flag_masks", "flag_values"))
    if len(words) != max(len(masks), len(values)) or (masks and values and len(masks) != len(values)):
        return
    if masks:
        masks, values = ([_unsigned(number) for number in numbers] for numbers in (masks, values))
    for i, word in enumerate(words):
        bits = masks[i] if masks else ALL_BITS
        if not (masks and _is_silent(word)):
            yield word, values[i] if values else bits, bits


def _is_silent(word: str) -> bool:
    """Whether a word of bits says nothing; of those that are known only ``not_cloud`` and its like."""
    return MEANINGS.get(word, "clear") == "clear" and bool(SILENT.search(word))


def _unsigned(number: int) -> int:
    """Return the bits of a number: netCDF's bytes have a sign, and their last bit is -128."""
    return number if number >= 0 else number & (0xFF if number >= -0x80 else ALL_BITS)


def _numbers(value: Any) -> list[int]:
    """Return whole numbers, of which some writers make a text: ``0b, 1b, 2b``."""
    if isinstance(value, str):
        return [int(number) for number in re.findall(r"-?\d+", value)]
    array = np.ravel(value) if isinstance(value, np.ndarray | np.generic | list | tuple | int) else np.empty(0)
    return [int(number) for number in array] if array.dtype.kind in "iu" else []


def _entries(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []


def _word(text: Any) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(text or "").lower()).strip("_")


def _codes(product: Product, scheme: str) -> npt.NDArray[np.uint8]:
    """Return a scheme's code for each of a product's codes."""
    target = SCHEMES[scheme]
    homes = {name: entry.code for entry in target.classes for name in entry.gathers}
    homes = {"clear": homes.get("land", target.no_data), **homes, "no_data": target.no_data}
    told = {rule.meaning for rule in product.rules}
    if told & set(SURFACES) == {"clear"} and "clear" not in {n for entry in target.classes for n in entry.gathers}:
        raise CloudMaskError(
            f"scheme {scheme!r} for {product.title}, which does not tell water and snow",
            "a scheme without them",
            "scheme='cloudsen12'",
        )
    of_meanings = np.array([homes.get(name, target.no_data) for name in VOCABULARY], "uint8")
    return of_meanings[product.meanings]


def _decoded(codes: npt.NDArray[Any], table: npt.NDArray[np.uint8], no_data: int) -> npt.NDArray[np.uint8]:
    """Look codes up; numbers that are none of 16 bits are no data."""
    if codes.dtype in ("uint8", "uint16"):
        return table.take(codes)
    with np.errstate(invalid="ignore"):
        whole = codes.astype("int64", copy=False)
    known = (whole == codes) & (whole >= 0) & (whole < CODES)
    return np.where(known, table.take(np.where(known, whole, 0)), np.uint8(no_data))
