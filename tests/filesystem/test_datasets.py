"""Dask's data frames and Hugging Face datasets over `credstore://`, on disk and at moto's server."""

import dask
import dask.dataframe
import datasets
import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")  # Dask uses it.


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture(params=["disk", "moto"])
def options(request):
    if request.param == "disk":
        return {"store": request.getfixturevalue("local_fs_url")}
    return {"store": request.getfixturevalue("moto_fs")._make}


def table():
    return pd.DataFrame({"n": np.arange(1000), "day": [f"day {number % 3}" for number in range(1000)]})


def test_dask_writes_parquet_in_partitions_and_reads_the_rows_that_a_filter_leaves(options):
    frame = dask.dataframe.from_pandas(table(), npartitions=4)
    with dask.config.set(scheduler="threads"):
        frame.to_parquet(
            "credstore://table", storage_options=options, partition_on=["day"], write_index=False
        )
        again = dask.dataframe.read_parquet(
            "credstore://table", storage_options=options, columns=["n"], filters=[("day", "==", "day 1")]
        )
        found = again.compute()
    assert sorted(found["n"]) == list(range(1, 1000, 3))


def test_dask_reads_many_csv_files_by_a_pattern(options):
    frame = dask.dataframe.from_pandas(table(), npartitions=5)
    with dask.config.set(scheduler="threads"):
        written = frame.to_csv("credstore://csv/part-*.csv", storage_options=options, index=False)
        assert len(written) == 5
        again = dask.dataframe.read_csv("credstore://csv/part-*.csv", storage_options=options)
        assert again["n"].sum().compute() == 999 * 1000 // 2


def test_a_hugging_face_dataset_is_saved_loaded_and_streamed(options):
    made = datasets.Dataset.from_pandas(table())
    made.save_to_disk("credstore://saved", storage_options=options)
    again = datasets.load_from_disk("credstore://saved", storage_options=options)
    assert again.column_names == ["n", "day"]
    assert again[17] == {"n": 17, "day": "day 2"}
    assert again.to_pandas().equals(table())
    made.to_parquet("credstore://parquet/a.parquet", storage_options=options)
    rows = datasets.load_dataset(
        "parquet",
        data_files={"train": "credstore://parquet/a.parquet"},
        storage_options=options,
        split="train",
        streaming=True,
    )
    assert [row["n"] for row in rows.take(3)] == [0, 1, 2]
