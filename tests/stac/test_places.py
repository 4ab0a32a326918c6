"""Items of the internet name nothing of this machine, and nothing of its network, unless they are allowed to."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pystac
import pystac_client
import pytest
import rasterio
import scenes
from hypothesis import given
from hypothesis import strategies as st
from stac_server import serve_files

from xr_cloudmask import FileError, StacError, stac
from xr_cloudmask.stac import http, places
from xr_cloudmask.stac.places import Place, origin_of, place_of

FAR = "https://8.8.8.8"  # nothing is asked there

PLACES = {
    Place.INTERNET: [
        "https://8.8.8.8/b2.tif", "http://8.8.8.8:8080/b2.tif?x=1", "HTTPS://8.8.8.8/b2.tif", "s3://bucket/b2.tif",
        "gs://bucket/b2.tif", "az://container/b2.tif", "https://[2001:4860:4860::8888]/b2.tif",
        "https://8.8.8.8/a b/b2.tif", "https://8.8.8.8/a\\b.tif", "https://8.8.8.8./b2.tif", "https://[64:ff9b::8.8.8.8]/",
        "https://[2002:808:808::1]/", "https://8.8.8.8/%2e%2e/b2.tif",
    ],
    Place.NETWORK: [
        "http://10.0.0.1/b2.tif", "https://192.168.1.1/b2.tif", "http://172.16.0.9/", "http://[fd00::1]/",
        "http://[::ffff:10.0.0.1]/", "http://100.64.0.1/", "http://224.0.0.1/", "http://[ff05::1]/", "http://[fec0::1]/",
        "http://10%2e0.0.1/", "http://[64:ff9b::10.0.0.1]/",
    ],
    Place.MACHINE: [
        "/data/b2.tif", "data/b2.tif", "file:///data/b2.tif", "file://8.8.8.8/b2.tif", "FILE:/etc/passwd", "C:\\b2.tif",
        "/vsicurl/https://8.8.8.8/b2.tif", "/vsis3/bucket/b2.tif", "/vsizip//vsicurl/https://8.8.8.8/b.zip",
        "vrt:///etc/passwd?bands=1", "vrt://https://8.8.8.8/b2.tif", "zip+https://8.8.8.8/b.zip", "<VRTDataset/>",
        "GTIFF_DIR:1:/data/b2.tif", "NETCDF:/data/x.nc:b", "WMS:http://8.8.8.8/", "ftp://8.8.8.8/b2.tif", "",
        "http://127.0.0.1/b2.tif", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0/",
        "http://localhost:8000/b2.tif", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::]/",
        "http://169.254.169.254/latest/meta-data", "http://[fe80::1%25eth0]/", "http://8.8.8.8@127.0.0.1/b2.tif",
        "http://8.8.8.8\\@127.0.0.1/", " https://8.8.8.8/b2.tif", "\thttps://8.8.8.8/", "https://8.8.8.8/\n", "http://[bad/",
        "https:///etc/passwd", "https:/etc/passwd", "http:8.8.8.8",
        "http://127%2e0%2e0%2e1/", "http://%6cocalhost/", "http://127.0.0.1./", "http://localhost./", "http://a.localhost/",
        "http://0x7f.1/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("place", "href"), [(place, href) for place, hrefs in PLACES.items() for href in hrefs])
def test_how_far_away_an_address_is(place, href):
    assert place_of(href) is place


@given(st.text(max_size=60))
def test_any_text_is_somewhere(text):
    assert place_of(text) in Place
    if "://" not in text:
        assert place_of(text) is Place.MACHINE


def test_a_name_is_as_near_as_its_nearest_address(monkeypatch):
    found = {"mixed.test": ["8.8.8.8", "10.0.0.1"], "far.test": ["8.8.8.8"], "metadata.test": ["169.254.169.254"]}

    def look_up(host, *_, **__):
        if host not in found:
            raise OSError("no such name")
        return [(2, 1, 6, "", (address, 0)) for address in found[host]]

    monkeypatch.setattr(places.socket, "getaddrinfo", look_up)
    places._place_of_host.cache_clear()
    expected = {"mixed.test": Place.NETWORK, "far.test": Place.INTERNET, "metadata.test": Place.MACHINE}
    assert {host: place_of(f"http://{host}/b2.tif") for host in found} == expected
    assert place_of("http://unknown.test/b2.tif") is Place.INTERNET
    places._place_of_host.cache_clear()


def item(href, *links, key="red"):
    """Return an item with links: pairs of a relation and an address."""
    said = {"proj:code": "EPSG:32722", "proj:shape": [64, 64], "proj:transform": [10, 0, 5e5, 0, -10, 7.9e6]}
    asset = {"href": href, "eo:bands": [{"name": key, "common_name": key}], "raster:bands": [{"data_type": "uint16"}]}
    return pystac.Item.from_dict(
        {
            "type": "Feature", "stac_version": "1.0.0", "id": "a", "geometry": None, "assets": {key: asset | said},
            "links": [{"rel": rel, "href": where} for rel, where in links],
            "properties": {"datetime": "2025-01-01T00:00:00Z"},
        }
    )  # fmt: skip


ORIGINS = [
    ((), Place.MACHINE),
    ((("self", f"{FAR}/a.json"),), Place.INTERNET),
    ((("root", f"{FAR}/"),), Place.INTERNET),
    ((("self", "/home/a.json"), ("root", f"{FAR}/")), Place.INTERNET),
    ((("collection", "s3://bucket/c.json"),), Place.INTERNET),
    ((("self", "http://127.0.0.1:8080/a.json"), ("root", "http://127.0.0.1:8080/")), Place.MACHINE),
    ((("self", "http://10.0.0.1/a.json"),), Place.NETWORK),
    ((("license", f"{FAR}/"), ("thumbnail", f"{FAR}/x.png")), Place.MACHINE),
]


@pytest.mark.parametrize(("links", "origin"), ORIGINS)
def test_where_an_item_came_from(links, origin):
    assert origin_of(item("/b2.tif", *links)) is origin
    kept = item("/b2.tif", *links).to_dict(include_self_link=True, transform_hrefs=False)
    assert origin_of(pystac.Item.from_dict(json.loads(json.dumps(kept)))) is origin


def test_an_item_of_a_search_came_from_its_api_whatever_it_says():
    client = pystac_client.Client("api", "api")
    client.set_self_href(FAR)
    said = item("/etc/passwd", ("self", "/home/a.json"), ("root", "/home/root.json")).to_dict(transform_hrefs=False)
    found = pystac.Item.from_dict(said, root=client)
    assert origin_of(found) is Place.INTERNET
    kept = found.to_dict(include_self_link=True, transform_hrefs=False)  # as a catalogue has it
    assert origin_of(pystac.Item.from_dict(kept)) is Place.INTERNET


FORBIDDEN = [
    ("root", f"{FAR}/a.json", "/data/b2.tif"),
    ("self", f"{FAR}/a.json", "file:///data/b2.tif"),
    ("root", f"{FAR}/", "http://127.0.0.1:9/b2.tif"),
    ("root", f"{FAR}/", "http://10.0.0.1/b2.tif"),
    ("root", "http://10.0.0.1/", "/data/b2.tif"),
    ("root", "http://10.0.0.1/", "http://127.0.0.1:9/b2.tif"),
    ("self", f"{FAR}/a.json", "vrt://https://8.8.8.8/b2.tif"),
]


@pytest.mark.parametrize(("rel", "origin", "href"), FORBIDDEN)
def test_an_item_may_not_point_to_what_is_nearer(rel, origin, href):
    with pytest.raises(StacError, match=r"(?s)which points to .*allow_local=True"):
        stac.load([item(href, (rel, origin))])
    assert list(stac.load([item(href, (rel, origin))], allow_local=True)) == ["red"]


@pytest.mark.parametrize(
    "href", ["https://8.8.4.4/b2.tif", "s3://bucket/b2.tif", "b2.tif", "../../../etc/passwd", "/b2.tif"]
)
def test_an_item_may_point_to_what_is_as_far_away(href):
    assert list(stac.load([item(href, ("self", f"{FAR}/x/a.json"))])) == ["red"]


def test_a_catalogue_of_a_network_may_point_to_the_internet():
    assert list(stac.load([item("https://8.8.8.8/b2.tif", ("root", "http://10.0.0.1/"))])) == ["red"]


def test_metadata_files_are_held_to_the_same(tmp_path):
    made = scenes.make_wpm(tmp_path, str(tmp_path), size=(48, 48)).item
    made["assets"] = {key: value for key, value in made["assets"].items() if key.endswith("xml")}
    for key in list(made["assets"]):
        made["assets"][key[:-4]] = item(f"{FAR}/b.tif").to_dict()["assets"]["red"]
    found = pystac.Item.from_dict(made | {"links": [{"rel": "root", "href": FAR}]})
    with pytest.raises(StacError, match="this machine"):
        stac.load([found])
    cube = stac.load([found], allow_local=True)
    assert "view:sun_elevation" in cube.coords


@pytest.fixture
def loopback_is_far(monkeypatch):
    """Let 127.0.0.1 stand for the internet, localhost for this machine."""
    places._place_of_host.cache_clear()
    far = {"127.0.0.1": Place.INTERNET}
    monkeypatch.setattr(places, "_place_of_host", lambda host: far.get(host, Place.MACHINE))


@pytest.mark.usefixtures("loopback_is_far")
def test_redirects_and_pages_stay_as_far_away(tmp_path):
    from test_limits import serve

    (tmp_path / "secret.xml").write_text("<secret/>")
    with serve_files(tmp_path) as inner:
        near = inner.url.replace("127.0.0.1", "localhost")
        with serve(lambda _: (302, {"Location": f"{near}/secret.xml"}, b"")) as (url, _):
            with pytest.raises(StacError, match=r"localhost.* on this machine"):
                http.fetch(f"{url}/a.xml", Place.INTERNET)
            with pytest.raises(StacError, match="on this machine"):
                stac.search(url, "c")
            assert http.fetch(f"{url}/a.xml") == b"<secret/>"  # who is on this machine may
    with (
        serve(lambda _: (302, {"Location": f"file://{tmp_path}/secret.xml"}, b"")) as (url, _),
        pytest.raises(FileError, match="cannot be read"),
    ):
        http.fetch(f"{url}/a.xml")


VRT = """<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32722</SRS>
<GeoTransform>500000, 10, 0, 7900000, 0, -10</GeoTransform><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""


@pytest.mark.usefixtures("loopback_is_far")
def test_a_file_of_the_internet_leads_to_no_other_file(tmp_path):
    """A VRT may be called b2.tif, and name any file of this machine."""
    profile = {"driver": "GTiff", "count": 1, "height": 64, "width": 64, "dtype": "uint16", "crs": "EPSG:32722"}
    grid = rasterio.transform.from_origin(5e5, 7.9e6, 10, 10)
    with rasterio.open(tmp_path / "secret.tif", "w", transform=grid, **profile) as file:
        file.write(np.full((1, 64, 64), 4711, "uint16"))
    served = tmp_path / "served"
    served.mkdir()
    (served / "b2.tif").write_text(VRT.format(tmp_path / "secret.tif"))
    shutil.copy(tmp_path / "secret.tif", served / "plain.tif")
    with serve_files(served) as files:
        far = ("self", f"{files.url}/a.json")
        bare = item(f"{files.url}/b2.tif", far)
        bare.assets["red"].extra_fields = {"eo:bands": [{"name": "red", "common_name": "red"}]}
        with pytest.raises(FileError, match="GDAL cannot read"):
            stac.load([bare])
        with pytest.raises(rasterio.errors.RasterioIOError, match="not recognized"):
            stac.load([item(f"{files.url}/b2.tif", far)]).compute(scheduler="synchronous")
        allowed = stac.load([item(f"{files.url}/b2.tif", far)], allow_local=True)
        assert int(allowed["red"].max()) == 4711
        assert int(stac.load([item(f"{files.url}/plain.tif", far)])["red"].max()) == 4711


@pytest.mark.usefixtures("loopback_is_far")
def test_tags_and_files_beside_it_lead_nowhere(tmp_path):
    """GDAL opens the file of overviews that a tag names, with whichever driver, and looks for one beside a file."""
    grid = rasterio.transform.from_origin(5e5, 7.9e6, 10, 10)
    profile = {"driver": "GTiff", "count": 1, "height": 64, "width": 64, "dtype": "uint16", "crs": "EPSG:32722"}
    served = tmp_path / "served"
    served.mkdir()
    for path, number in ((tmp_path / "secret.tif", 4711), (served / "tag.tif", 1), (served / "b2.tif", 1)):
        with rasterio.open(path, "w", transform=grid, **profile) as file:
            file.write(np.full((1, 64, 64), number, "uint16"))
    with rasterio.open(tmp_path / "secret.tif") as secret:
        beside = VRT.replace("64", "32").format(tmp_path / "secret.tif")
        assert secret.shape == (64, 64)
    (served / "b2.tif.ovr").write_text(beside)
    with rasterio.open(served / "tag.tif", "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(tmp_path / "secret.tif"))
    with serve_files(served) as files:
        far = ("self", f"{files.url}/a.json")
        coarse = stac.load([item(f"{files.url}/tag.tif", far)], resolution=20, crs="EPSG:32722")
        with pytest.raises(FileError, match="name another file"):
            coarse.compute(scheduler="synchronous")
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="FALSE"):
            coarse = stac.load([item(f"{files.url}/b2.tif", far)], resolution=20, crs="EPSG:32722")
            assert int(coarse.compute(scheduler="synchronous")["red"].max()) == 1


def test_a_catalogue_keeps_to_it_and_may_be_told_otherwise(tmp_path):
    from xr_cloudmask import Catalog

    made = scenes.make_wpm(tmp_path, str(tmp_path), size=(48, 48)).item
    found = pystac.Item.from_dict(made | {"links": [{"rel": "root", "href": FAR}]})
    catalog = Catalog(tmp_path / "scenes.db")
    assert catalog.run([found], "4-4A", progress=False).failed == (made["id"],)
    assert "allow_local=True" in catalog.to_dataframe()["error"].iloc[0]
    done = catalog.run([found], "4-4A", load={"allow_local": True}, progress=False)
    assert (done.made, len(catalog)) == (1, 1)  # the same scene: how a file is found does not change its mask
