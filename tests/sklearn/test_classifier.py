"""Classes of any kind, their weights, and several labels at once."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.metrics import recall_score

from faltung.geometry.errors import FaltungError
from faltung.sklearn import ConvClassifier

IRIS, KIND = load_iris(return_X_y=True)


@pytest.mark.parametrize(
    "classes",
    [
        ["setosa", "versicolor", "virginica"],
        ["x" * 250 + "a", "x" * 250 + "b", "y"],
        [-7, 0, 3],
        [0.0, 1.0, 2.0],
        np.array(["=c", "a", "a\n"], object),
    ],
    ids=["words", "long words", "ints", "floats", "objects"],
)
def test_any_labels(classes: object) -> None:
    names = np.asarray(classes)
    model = ConvClassifier(epochs=20, random_state=0).fit(IRIS, names[KIND])
    assert np.array_equal(model.classes_, names)
    assert (model.predict(IRIS) == names[KIND]).mean() > 0.9
    likely = model.predict_proba(IRIS)
    assert np.allclose(likely.sum(1), 1, atol=1e-12)
    assert np.array_equal(np.log(likely), model.predict_log_proba(IRIS))


def test_class_weight() -> None:
    """The rare class is found more often."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(300) % 10 == 0, "rare", "usual")
    x = rng.standard_normal((300, 2)) + (y == "rare")[:, np.newaxis]

    def recall(weight: object) -> float:
        model = ConvClassifier(epochs=10, random_state=0, class_weight=weight).fit(x, y)
        return float(recall_score(y, model.predict(x), pos_label="rare"))

    assert recall("balanced") > recall(None) + 0.2
    assert recall({"rare": 9}) > recall(None) + 0.2
    with pytest.raises(ValueError, match="class_weight"):
        recall("equal")


def test_several_labels() -> None:
    x, y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    model = ConvClassifier(random_state=0).fit(x, y)
    likely, said = model.predict_proba(x), model.predict(x)
    assert likely.shape == said.shape == (200, 3)
    assert np.array_equal(said, likely > 0.5)
    assert model.score(x, y) > 0.55 and model.classes_.tolist() == [0, 1, 2]
    y[:, 1] = np.arange(200) % 20 == 0
    usual, balanced = (
        ConvClassifier(epochs=10, class_weight=weight, random_state=0).fit(x, y).predict(x)
        for weight in (None, "balanced")
    )
    assert balanced[:, 1].sum() > usual[:, 1].sum()
    with pytest.raises(FaltungError, match="smoothing="):
        ConvClassifier(smoothing=0.1).fit(x, y)


def test_weights_that_are_not_whole() -> None:
    """Weights in proportion are the same; those of a class are those of its samples."""
    each = np.array([0.5, 1.25, 0.1])[KIND]
    first = ConvClassifier(epochs=5, random_state=0).fit(IRIS, KIND, each)
    again = ConvClassifier(epochs=5, random_state=0).fit(IRIS, KIND, 4 * each)
    assert np.array_equal(first.predict_proba(IRIS), again.predict_proba(IRIS))
    usual = ConvClassifier(epochs=5, random_state=0).fit(IRIS, KIND)
    assert first.predict_proba(IRIS)[:, 1].mean() > usual.predict_proba(IRIS)[:, 1].mean() + 0.03


def test_partial_fit_knows_its_classes() -> None:
    model = ConvClassifier(random_state=0)
    with pytest.raises(FaltungError, match="classes: must be given in the first call"):
        model.partial_fit(IRIS, KIND)
    model.partial_fit(IRIS[:100], KIND[:100], classes=[0, 1, 2])
    with pytest.raises(FaltungError, match=r"classes=.*as before"):
        model.partial_fit(IRIS, KIND, classes=[0, 1])
    with pytest.raises(FaltungError, match="y: has the class 3"):
        model.partial_fit(IRIS, KIND + 1)
    assert model.predict_proba(IRIS).shape == (150, 3)
