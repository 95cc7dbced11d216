"""The streaming updates against Spark MLlib's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspark.mllib.clustering import StreamingKMeansModel
from pyspark.mllib.linalg import Vectors
from pyspark.mllib.regression import LabeledPoint, LinearRegressionWithSGD
from pyspark.sql import SparkSession

from processors import spark
from processors.algorithms import clustering, regression
from processors.contract import Context


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    state = Path(tmp_path_factory.mktemp("spark"))
    found = spark.session("oracle", Context(0, 0, "", "", state))
    yield found
    found.stop()


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_decayed_kmeans_agrees_with_mllib(session: SparkSession, decay: float) -> None:
    rng = np.random.default_rng(2)
    centres, weights = rng.normal(size=(3, 2)) * 3, np.array([5.0, 1.0, 2.0])
    oracle = StreamingKMeansModel(centres.tolist(), weights.tolist())
    for _ in range(4):
        points = rng.normal(size=(60, 2)) * 2
        oracle = oracle.update(session.sparkContext.parallelize([Vectors.dense(p) for p in points]), decay, "batches")
        labels = clustering.distances(points, centres).argmin(axis=1)
        centres, weights = clustering.decayed_update(centres, weights, points, labels, decay)
        np.testing.assert_allclose(centres, np.array(oracle.clusterCenters), rtol=1e-9)
        np.testing.assert_allclose(weights, oracle.clusterWeights, rtol=1e-9)


def test_sgd_agrees_with_mllib(session: SparkSession) -> None:
    rng = np.random.default_rng(3)
    model, weights = regression.sgd(1, 3), np.zeros(3)
    for _ in range(5):
        x = rng.normal(size=(40, 3))
        y = x @ [0.5, -1.0, 0.2] + rng.normal(size=40)
        rows = session.sparkContext.parallelize([LabeledPoint(b, a) for a, b in zip(x, y, strict=True)])
        # One iteration over a whole batch from the weights so far: what MLlib's streaming regression does per batch.
        oracle = LinearRegressionWithSGD.train(
            rows, iterations=1, step=0.1, miniBatchFraction=1.0, initialWeights=weights, regType=None, intercept=False
        )
        weights = oracle.weights.toArray()
        regression.sgd_learn(model, x.T, y, np.zeros(40, dtype=int), 0.1)
        np.testing.assert_allclose(model["w"][0], weights, rtol=1e-9)
