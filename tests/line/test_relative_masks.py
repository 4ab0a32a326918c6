"""A mask whose model cannot see overcast says so, and again wherever something is decided by its coverage."""

import warnings

import pytest
import scenes
import xarray as xr

import xr_cloudmask
from xr_cloudmask import Catalog, CoverageWarning, cli, simulate, stac
from xr_cloudmask.names import MASK_NAME, MODEL_WARNING


@pytest.fixture(scope="module")
def cube():
    return simulate.series(dates=2, size=(64, 64), sensor="cbers-4a-wpm").drop_vars("truth")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    import pystac

    folder = tmp_path_factory.mktemp("wpm")
    made = [scenes.make_wpm(folder, str(folder), i, size=(64, 72), cover=0.3) for i in range(2)]
    items = [pystac.Item.from_dict(scene.item) for scene in made]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = Catalog(folder / "scenes.db")
        assert out.run(items, "4-4A", workers=1, progress=False).made == 2
    return out


def test_the_mask_says_it(cube):
    mask = cube.cloudmask.predict("4-4A")
    assert "cannot see overcast" in mask[MASK_NAME].attrs[MODEL_WARNING]
    assert "cannot see overcast" in repr(mask.cloudmask)
    assert MODEL_WARNING not in cube.cloudmask.predict("physical")[MASK_NAME].attrs


@pytest.mark.parametrize("limits", [{"max_cloud": 0.5}, {"max_shadow": 0.5}, {"max_cloud": 0.5, "min_valid": 0.1}])
def test_a_filter_by_its_cloud_warns(cube, limits):
    mask = cube.cloudmask.predict("4-4A")
    for how in ({"mask": mask}, {"mask": mask[MASK_NAME].chunk()}):
        with pytest.warns(CoverageWarning, match="predict\\('auto'\\)"):
            cube.cloudmask.filter(**limits, **how)
    with pytest.warns(CoverageWarning, match="overcast"):
        cube.cloudmask.with_mask("4-4A").cloudmask.filter(**limits)


def test_what_says_nothing_of_cloud_does_not_warn(cube):
    mask = cube.cloudmask.predict("4-4A")
    cube.cloudmask.filter(min_valid=0.1, mask=mask)
    cube.cloudmask.filter(max_cloud=0.5, mask=cube.cloudmask.predict("physical"))


def test_it_is_still_known_of_a_file(cube, tmp_path):
    (path,) = xr_cloudmask.export.to_file(cube.cloudmask.predict("4-4A"), tmp_path / "mask.nc")
    with xr_cloudmask.export.open_mask(path) as mask, pytest.warns(CoverageWarning, match="overcast"):
        cube.cloudmask.filter(max_cloud=0.5, mask=mask)


def test_a_catalogue_filtered_by_its_cloud_warns(catalog, tmp_path):
    with pytest.warns(CoverageWarning, match="overcast"):
        clear = catalog.filter(max_cloud=0.5)
    assert all("overcast" in said[MODEL_WARNING] for said in clear.to_dataframe()["provenance"])
    with pytest.warns(CoverageWarning, match="overcast"):
        catalog.filter(max_shadow=0.5, model="4-4A")
    catalog.filter(min_valid=0.5)
    catalog.filter(model="4-4A")
    catalog.filter(max_cloud=0.5, model="csmask")  # of which there are none
    with pytest.warns(CoverageWarning, match="overcast"):
        xr.Dataset({"x": catalog.cube()[MASK_NAME]})["x"].to_dataset(name=MASK_NAME).cloudmask.filter(max_cloud=0.5)
    with pytest.warns(CoverageWarning, match="overcast"):
        assert cli.main(["export", "--db", str(catalog.path), "--max-cloud", "50%", "--to", str(tmp_path)]) == 0


def test_screening_by_it_warns():
    with pytest.warns(CoverageWarning, match="overcast"), pytest.raises(xr_cloudmask.StacError):
        stac.screen([], model="4-4A")
