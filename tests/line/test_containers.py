"""Flexible indexes, trees and files: what goes in comes out, labels, CRS, flags and the kind of index."""

import functools
import importlib
import pickle

import dask
import numpy as np
import pytest
import xarray as xr

import xr_cloudmask
from xr_cloudmask import export
from xr_cloudmask.cube import layout
from xr_cloudmask.cube.crs import coordinate_reference_system
from xr_cloudmask.errors import CloudMaskError, CubeError, FileError
from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
from xr_cloudmask.names import CLOUD_FRACTION, COUNTED_OVER, FRACTIONS, MASK_NAME

BANDS, SIZE, DATES = ["blue", "green", "red", "nir"], 48, 6


def plain(chunks=None):
    cube = xr_cloudmask.simulate.series(bands=BANDS, dates=DATES, size=(SIZE, SIZE)).drop_vars("truth")
    return cube if chunks is None else cube.chunk(chunks)


def needed(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


def with_raster_index(cube):
    return needed("rasterix").assign_index(cube)


def with_crs_index(cube):
    needed("xproj")
    return cube.drop_vars("spatial_ref").drop_encoding().proj.assign_crs(crs=32723)


def with_range_index(cube):
    if not hasattr(xr.indexes, "RangeIndex"):
        pytest.skip("this xarray has no RangeIndex")
    for dim in ("y", "x"):
        axis = cube[dim].values
        made = xr.indexes.RangeIndex.linspace(axis[0], axis[-1], axis.size, endpoint=True, dim=dim)
        cube = cube.drop_vars(dim).assign_coords(xr.Coordinates.from_xindex(made))
    return cube


def without_indexes(cube):
    return cube.drop_indexes(["time", "y", "x"])


def as_array(cube):
    return with_raster_index(cube.cloudmask.reflectance()).to_dataarray("band").assign_attrs(level="TOA")


CONTAINERS = [plain, with_raster_index, with_crs_index, with_range_index, without_indexes, as_array]


def made(container, chunks):
    cube = plain(chunks)
    return cube if container is plain else container(cube)


def kinds(obj):
    return {name: type(index) for name, index in obj.xindexes.items() if name in ("y", "x", "crs", "spatial_ref")}


def _epsg(result):
    one = result if isinstance(result, xr.DataArray) else result[next(n for n in result if result[n].ndim > 1)]
    return coordinate_reference_system(layout.view(one)).to_epsg()


@pytest.mark.parametrize("chunks", [None, {"time": 1}], ids=["numpy", "dask"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_method_keeps_indexes_crs_and_labels(container, chunks, tmp_path):
    cube = made(container, chunks)
    mask = cube.cloudmask.predict(resolution="native")
    expected = plain().cloudmask.predict(resolution="native")
    np.testing.assert_array_equal(mask[MASK_NAME], expected[MASK_NAME])
    results = [
        mask,
        cube.cloudmask.with_mask(resolution="native"),
        cube.cloudmask.apply(mask),
        cube.cloudmask.filter(max_cloud=0.99, mask=mask),
        cube.cloudmask.filter(max_cloud=0.99),
        cube.cloudmask.composite(mask=mask),
        cube.cloudmask.composite("best", mask=mask, groupby="MS"),
        cube.cloudmask.filter(max_cloud=0.9, mask=mask).cloudmask.composite(mask=mask),
        cube.cloudmask.refine(mask),
        cube.cloudmask.reflectance(),
        cube.cloudmask.indices(["NDVI"]),
        mask.cloudmask.dilate(30),
        mask.cloudmask.to_scheme("binary"),
        mask.cloudmask.clear(),
    ]
    for result in results:
        assert kinds(result) == kinds(cube)
        assert _epsg(result) == 32723
    for name in ("mask.tif", "mask.nc", "mask.zarr"):
        for date, path in enumerate(export.to_file(mask, tmp_path / name)):
            read = export.open_mask(path)
            wanted = expected.isel(time=date) if name == "mask.tif" else expected
            np.testing.assert_array_equal(read[MASK_NAME], wanted[MASK_NAME])
            np.testing.assert_allclose(read["y"], plain()["y"])
            assert read[MASK_NAME].attrs["flag_meanings"] == wanted[MASK_NAME].attrs["flag_meanings"]
            assert coordinate_reference_system(layout.view(read[MASK_NAME])).to_epsg() == 32723


def test_a_mask_of_other_pixels_is_refused_whatever_the_index():
    cube = with_range_index(plain())
    mask = cube.cloudmask.predict(resolution="native")
    with pytest.raises(CloudMaskError, match="differs from the cube's along"):
        cube.isel(x=slice(0, 20)).cloudmask.apply(mask.isel(x=slice(20, 40)))


@pytest.mark.parametrize("at", ["cube", "bands"])
def test_a_place_that_attributes_tell(at, tmp_path):
    cube = plain().isel(time=0)
    attrs = {"proj:code": "EPSG:32723", "spatial:transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 7600000.0, 0, 0, 1]}
    bare = cube.drop_vars(["y", "x", "spatial_ref"]).drop_encoding()
    told = bare.assign_attrs(attrs)
    if at == "bands":
        told = bare.assign({name: band.assign_attrs(attrs) for name, band in bare.items()})
    mask = told.cloudmask.predict(resolution="native")
    part = mask.isel(y=slice(8, 40))
    np.testing.assert_allclose(part["y"], 7600000 - 10 * (np.arange(8, 40) + 0.5))
    (path,) = export.to_file(part, tmp_path / "mask.tif")
    assert coordinate_reference_system(layout.view(export.open_mask(path)[MASK_NAME])).to_epsg() == 32723
    np.testing.assert_allclose(export.open_mask(path)["y"], part["y"])
    cut = bare.isel(y=slice(8, 40)).assign_attrs(attrs | {"spatial:shape": [SIZE, SIZE]})
    assert "y" not in cut.cloudmask.predict(resolution="native").coords


def test_plain_netcdf_has_its_grid_mapping_as_a_variable(tmp_path):
    plain().to_netcdf(tmp_path / "cube.nc")
    cube = xr.open_dataset(tmp_path / "cube.nc", chunks={"time": 1})
    carried = cube.cloudmask.with_mask(probabilities=True)
    assert "spatial_ref" in carried.data_vars
    assert "class" in carried.coords
    assert carried["blue" if "blue" in carried else "B02"].attrs["ancillary_variables"].split()[0] == MASK_NAME
    carried.drop_encoding().to_netcdf(tmp_path / "carried.nc")
    again = xr.open_dataset(tmp_path / "carried.nc", decode_coords="all")
    np.testing.assert_array_equal(again.cloudmask.coverage()[CLOUD_FRACTION], carried[CLOUD_FRACTION])
    again.cloudmask.with_mask().drop_encoding().to_netcdf(tmp_path / "again.nc")
    image = again.cloudmask.composite()
    assert all("ancillary_variables" not in {**band.attrs, **band.encoding} for band in image.values())


def test_coordinates_of_other_chunks(tmp_path):
    cube = plain({"time": 2})
    cube = cube.assign_coords({name: cube[name].chunk(time=1) for name in ("view:sun_azimuth", "view:sun_elevation")})
    mask = cube.cloudmask.predict()
    assert cube.cloudmask.composite(mask=mask).sizes == {"y": SIZE, "x": SIZE}
    assert cube.cloudmask.refine(mask).sizes["time"] == DATES
    export.to_file(mask, tmp_path / "mask.nc")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_formats(zarr_format, tmp_path):
    mask = plain().cloudmask.predict(probabilities=True)
    export.to_file(mask, tmp_path / "mask.zarr", zarr_format=zarr_format)
    assert (tmp_path / "mask.zarr" / ("zarr.json" if zarr_format == 3 else ".zgroup")).is_file()
    read = export.open_mask(tmp_path / "mask.zarr")
    np.testing.assert_array_equal(read[MASK_NAME], mask[MASK_NAME])
    assert read["class"].values.tolist() == mask["class"].values.tolist()
    export.to_file(read, tmp_path / "again.nc")
    with pytest.raises(FileError, match="zarr_format=4"):
        export.to_file(mask, tmp_path / "mask.zarr", zarr_format=4)


# There and back, as people write and read. Files know no kind of index; how to make it anew is tested below.


def by_netcdf(mask, folder):
    mask.to_netcdf(folder / "mask.nc")
    return xr.open_dataset(folder / "mask.nc", decode_coords="all")


def by_zarr(mask, store, **options):
    mask.to_zarr(store, consolidated=False, **options)
    return xr.open_zarr(store, consolidated=False, decode_coords="all")


def by_icechunk(mask, folder):
    icechunk = needed("icechunk")
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(folder)))
    return by_zarr(mask, repository.writable_session("main").store)


def by_tree(mask, folder):
    xr.DataTree.from_dict({"/first": mask}).to_zarr(folder / "tree.zarr", consolidated=False)
    tree = xr.open_datatree(folder / "tree.zarr", engine="zarr", consolidated=False, decode_coords="all")
    return tree["first"].to_dataset()


def by_export(mask, folder, suffix):
    parts = [export.open_mask(path) for path in export.to_file(mask, folder / f"mask{suffix}")]
    whole = functools.partial(xr.concat, dim="time", coords="different", compat="equals", combine_attrs="override")
    return parts[0] if len(parts) == 1 else whole(parts)


def by_pickle(mask, _):
    return pickle.loads(pickle.dumps(mask))


WAYS = {
    "netCDF": by_netcdf,
    "Zarr 2": lambda mask, folder: by_zarr(mask, folder / "mask.zarr", zarr_format=2),
    "Zarr 3": lambda mask, folder: by_zarr(mask, folder / "mask.zarr", zarr_format=3),
    "icechunk": by_icechunk,
    "DataTree": by_tree,
    "COG": lambda mask, folder: by_export(mask, folder, ".tif"),
    "export netCDF": lambda mask, folder: by_export(mask, folder, ".nc"),
    "export Zarr": lambda mask, folder: by_export(mask, folder, ".zarr"),
    "pickle": by_pickle,
}


@functools.cache
def predicted(container):
    cube = made(container, None).isel(time=slice(2))
    return cube, cube.cloudmask.predict(resolution="native")


@pytest.mark.parametrize("container", [plain, with_raster_index, with_crs_index, with_range_index])
@pytest.mark.parametrize("way", WAYS)
def test_there_and_back(way, container, tmp_path):
    cube, mask = predicted(container)
    read = WAYS[way](mask.chunk(time=1), tmp_path)
    assert read[MASK_NAME].dtype == "uint8"
    np.testing.assert_array_equal(read[MASK_NAME], mask[MASK_NAME])
    assert _epsg(read) == 32723
    for name, value in mask[MASK_NAME].attrs.items():
        np.testing.assert_array_equal(read[MASK_NAME].attrs[name], value)
    for name in FRACTIONS:
        np.testing.assert_array_equal(read[name], mask[name])
    assert (kinds(read) == kinds(mask)) == (way == "pickle" or container is plain)
    applied = cube.cloudmask.apply(read)
    assert kinds(applied) == kinds(cube)
    np.testing.assert_array_equal(applied.to_dataarray(), cube.cloudmask.apply(mask).to_dataarray())


@pytest.mark.parametrize("container", [with_raster_index, with_crs_index])
def test_an_index_is_made_anew(container, tmp_path):
    _, mask = predicted(container)
    read = by_netcdf(mask, tmp_path)
    if container is with_raster_index:
        again = importlib.import_module("rasterix").assign_index(read)
        assert again.xindexes["x"].equals(mask.xindexes["x"])
    else:
        again = read.proj.assign_crs(crs=coordinate_reference_system(layout.view(read[MASK_NAME])))
    assert kinds(again) == kinds(mask)


def test_a_composite_is_written_by_rioxarray(tmp_path):
    rioxarray = importlib.import_module("rioxarray")
    cube = plain()
    image = cube.cloudmask.composite("latest", mask=cube.cloudmask.predict())
    image.rio.to_raster(tmp_path / "image.tif")
    with rioxarray.open_rasterio(tmp_path / "image.tif") as read:
        assert read.sizes["band"] == len(image.data_vars)
    assert export.to_file(image, tmp_path / "cog.tif") == (tmp_path / "cog.tif",)
    with rioxarray.open_rasterio(tmp_path / "cog.tif") as read:
        np.testing.assert_array_equal(read, image.to_dataarray("band"))
        assert read.rio.crs.to_epsg() == 32723
        assert list(read.attrs["long_name"]) == list(image)
    with pytest.raises(FileError, match="one image in a GeoTIFF"):
        export.to_file(cube.cloudmask.composite(mask=cube.cloudmask.predict(), groupby="MS"), tmp_path / "months.tif")


def test_fractions_say_what_they_were_counted_over():
    carried = plain().cloudmask.with_mask()
    assert carried[CLOUD_FRACTION].attrs[COUNTED_OVER] == f"{SIZE} x {SIZE} pixels"
    part = carried.isel(x=slice(0, 20))
    assert part.cloudmask.coverage()[CLOUD_FRACTION].attrs[COUNTED_OVER] == f"{SIZE} x 20 pixels"
    single = plain().isel(time=0).cloudmask.predict()[MASK_NAME].isel(x=slice(0, 20))
    assert single.attrs[COUNTED_OVER] == f"{SIZE} x {SIZE} pixels"


def test_files_count_a_part_anew(tmp_path):
    part = plain().isel(time=0).cloudmask.predict().isel(x=slice(0, 20))
    for name in ("part.tif", "part.nc"):
        (path,) = export.to_file(part.chunk() if name == "part.nc" else part, tmp_path / name)
        read = export.open_mask(path)
        assert float(read[CLOUD_FRACTION]) == pytest.approx(float(part.cloudmask.coverage()[CLOUD_FRACTION]))
        assert read[CLOUD_FRACTION].attrs[COUNTED_OVER] == f"{SIZE} x 20 pixels"
        assert read[MASK_NAME].attrs.get(CLOUD_FRACTION, float(read[CLOUD_FRACTION])) == float(read[CLOUD_FRACTION])


def test_codes_that_no_flag_names_are_refused():
    mask = xr.DataArray(np.uint8([[[0, 1], [3, 77]]]), dims=("time", "y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    for given in (mask, mask.chunk(y=1)):
        with pytest.raises(CloudMaskError, match=r"codes \[77\]"):
            given.cloudmask.coverage().compute()


def test_filter_keeps_the_mask_it_made(monkeypatch):
    from xr_cloudmask.engine import lazy

    dates = []
    run = lazy.predict_tile
    monkeypatch.setattr(lazy, "predict_tile", lambda job, tile, *rest: dates.append(tile.date) or run(job, tile, *rest))
    cube = plain({"time": 1})
    kept = cube.cloudmask.filter(max_cloud=1.0)
    image = kept.cloudmask.composite().compute()
    assert len(dates) == DATES
    again = cube.cloudmask.filter(max_cloud=0.9)
    again[MASK_NAME].compute()
    assert len(dates) == DATES
    xr.testing.assert_identical(image, plain().cloudmask.filter(max_cloud=1.0).cloudmask.composite())


def test_filter_counts_a_store_that_was_opened_anew(tmp_path):
    times = np.array(["2024-06-01", "2024-06-11"], "M8[ns]")
    labels = xr.DataArray(np.zeros((2, 8, 8), "uint8"), {"time": times}, ("time", "y", "x"), MASK_NAME)
    mask = labels.assign_attrs(flag_attrs(SCHEMES["cloudsen12"])).to_dataset()
    cube = xr.Dataset({"red": (("time", "y", "x"), np.zeros((2, 8, 8), "float32"))}, {"time": times})
    mask.to_zarr(tmp_path / "mask.zarr", consolidated=False)
    assert cube.cloudmask.filter(max_cloud=0.5, mask=xr.open_zarr(tmp_path / "mask.zarr", consolidated=False)).time.size
    region = {"time": slice(0, 2), "y": slice(0, 8), "x": slice(0, 8)}
    (mask + np.uint8(1)).drop_vars("time").to_zarr(tmp_path / "mask.zarr", region=region, consolidated=False)
    again = xr.open_zarr(tmp_path / "mask.zarr", consolidated=False)
    assert cube.cloudmask.filter(max_cloud=0.5, mask=again).sizes["time"] == 0


# Trees.


def group(names, step, *, rows=24, fill=None):
    axis = np.arange(step / 2, rows * 10, step)
    rng = np.random.default_rng(len(names))
    values = {name: (("y", "x"), rng.uniform(0.05, 0.3, (axis.size, axis.size))) for name in names}
    if fill is not None:
        for _, pixels in values.values():
            pixels[fill] = np.nan
    return xr.Dataset(values, {"y": 7600000 - axis, "x": 600000 + axis})


def product():
    item = {"properties": {"platform": "sentinel-2a", "processing:level": "L2A", "proj:epsg": 32723}}
    angles = xr.Dataset({"mean_sun_angles": ("angle", [40.0, 120.0])}, {"angle": ["zenith", "azimuth"]})
    return xr.DataTree.from_dict({
        "/": xr.Dataset(attrs={"stac_discovery": item}),
        "/measurements/reflectance/r10m": group(["b02", "b03", "b04", "b08"], 10, fill=(0, 0)),
        "/measurements/reflectance/r20m": group(["b02", "b11", "b12"], 20),
        "/measurements/reflectance/r60m": group(["b01"], 60),
        "/conditions/geometry": angles,
        "/quality/mask/r10m": group(["b02"], 10),
    })  # fmt: skip


@pytest.mark.parametrize("lazy", [False, True])
def test_a_tree_becomes_a_cube(lazy):
    tree = product().chunk() if lazy else product()
    fine = tree["measurements/reflectance/r10m"].to_dataset()
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("computed")):
        cube, coarse, third = (tree.cloudmask.cube(size) for size in (None, 20, 30))
    assert set(cube) == {"b01", "b02", "b03", "b04", "b08", "b11", "b12"}
    assert cube.sizes == {"y": 24, "x": 24}
    np.testing.assert_array_equal(cube["b02"], fine["b02"])
    source = tree["measurements/reflectance/r20m"].to_dataset()
    np.testing.assert_array_equal(cube["b11"].isel(y=slice(None, None, 2), x=slice(1, None, 2)), source["b11"])
    np.testing.assert_array_equal(coarse["b02"], source["b02"])
    means = fine["b04"].values.reshape(12, 2, 12, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse["b04"], means)
    assert np.isnan(coarse["b04"][0, 0])
    np.testing.assert_allclose(coarse["y"], source["y"])
    np.testing.assert_allclose(third["x"], 600015 + 30 * np.arange(8))
    assert float(cube["view:sun_elevation"]) == 50
    assert coordinate_reference_system(layout.view(coarse)).to_epsg() == 32723


def test_a_tree_predicts_each_product():
    tree = xr.DataTree.from_dict({"/first": product(), "/second": product()})
    masks = tree.cloudmask.predict(grid=20)
    alone = product().cloudmask.predict(grid=20)
    for name in ("first", "second"):
        xr.testing.assert_identical(masks[name].to_dataset(), alone.to_dataset())
    assert alone[MASK_NAME].attrs["bands"] == "b02 b03 b04 b08"
    shares = masks.map_over_datasets(lambda each: each.cloudmask.coverage() if each.data_vars else each)
    assert float(shares["first/valid_fraction"]) == pytest.approx(143 / 144)
    assert "2 products" in repr(tree.cloudmask)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (xr.DataTree.from_dict({"/a": product(), "/b": product()}), "2 products"),
        (xr.DataTree.from_dict({"/a": xr.Dataset({"x": 1})}), "without bands"),
        (xr.DataTree.from_dict({"/a": group(["b02"], 10), "/b": group(["b11"], 20).assign_coords(x=np.arange(12.0))}),
         "pixels of"),
    ],
)  # fmt: skip
def test_trees_that_are_no_cube(tree, message):
    with pytest.raises(CubeError, match=message):
        tree.cloudmask.cube()
