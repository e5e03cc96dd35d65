"""Class paths of earlier versions load, and manipulated folders are refused before anything is imported."""

import json
import pickle
import re
import shutil
import sys
from pydoc import locate

import pytest
import torch
from gluonts.model.predictor import Predictor
from saved_models import FIXTURES

from s5forecast import S5Forecaster
from s5forecast.aliases import CURRENT, GLUONTS, MOVED, PLAIN, REFERENCES, _allowed, allow, check_folder, load, resolve
from s5forecast.estimators import CombinedPredictor, EnsemblePredictor, S5Predictor
from s5forecast.estimators.items import ItemsPredictor
from s5forecast.estimators.peers import PeerPredictor
from s5forecast.estimators.states import SeriesStates
from s5forecast.evaluation import BASELINES, CalibratedPredictor

VERSION = FIXTURES / "0.1.0"
READERS = {
    "direct_features": S5Predictor.deserialize,
    "ensemble": EnsemblePredictor.deserialize,
    "combined": CombinedPredictor.deserialize,
    "items": ItemsPredictor.deserialize,
    "peer": PeerPredictor.deserialize,
    "calibrated": CalibratedPredictor.deserialize,
    "baseline_seasonal_naive": BASELINES["seasonal_naive"].deserialize,
    "forecaster": S5Forecaster.load,
    "forecaster_ensemble": S5Forecaster.load,
}


@pytest.fixture
def sentinel(tmp_path, monkeypatch):
    """A module on the path that must not be imported."""
    (tmp_path / "sentinel.py").write_text("class Predictor:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "sentinel.Predictor"
    imported = sys.modules.pop("sentinel", None)
    assert imported is None, "the sentinel was imported"


@pytest.fixture
def copy(tmp_path):
    def copy_of(name):
        return shutil.copytree(VERSION / name / "model", tmp_path / name)

    return copy_of


def edit(file, change):
    content = json.loads(file.read_text())
    changed = change(content)
    file.write_text(json.dumps(content if changed is None else changed))


def encoded(named, kind="instance", **kwargs):
    return {"__kind__": kind, "class": named, "args": [], "kwargs": kwargs}


@pytest.mark.parametrize("path", sorted({*CURRENT, *GLUONTS, *PLAIN, *REFERENCES}))
def test_listed_path_exists(path):
    assert locate(path) is not None


@pytest.mark.parametrize("path", MOVED)
def test_former_path_is_importable(path):
    assert MOVED[path] in CURRENT
    assert locate(path) is locate(MOVED[path]) is resolve(path)


def test_former_module_has_only_the_classes_that_moved():
    import s5forecast.estimators.direct_network as former

    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        former.absent  # noqa: B018
    with pytest.raises(ImportError):
        import s5forecast.estimators.never_existed  # noqa: F401


def test_every_class_of_the_saved_models_is_listed():
    named = set()
    for file in FIXTURES.rglob("*.json"):
        named |= set(re.findall(r'"(?:class|type)": "([^"]+)"', file.read_text()))
    assert named <= {*MOVED, *CURRENT, *GLUONTS, *PLAIN, *REFERENCES}


@pytest.mark.parametrize("folder", sorted(VERSION.iterdir()), ids=lambda folder: folder.name)
def test_saved_model_passes(folder):
    check_folder(folder)


@pytest.mark.parametrize("name", READERS)
def test_unknown_predictor_is_refused(name, copy, sentinel):
    model = copy(name)
    for file in model.rglob("gluonts-config.json"):
        edit(file, lambda content: content.update(type=sentinel))
    with pytest.raises(ValueError, match=r"gluonts-config.json.*'sentinel.Predictor'.*aliases.allow"):
        READERS[name](model)


@pytest.mark.parametrize("kind", ["instance", "type", "stateful"])
@pytest.mark.parametrize("name", READERS)
def test_unknown_class_is_refused(name, kind, copy, sentinel):
    model = copy(name)
    for file in model.rglob("predictor.json"):
        edit(file, lambda content: content["kwargs"].update(batch_size=[encoded(sentinel, kind)]))
    with pytest.raises(ValueError, match=r"predictor.json: .*'sentinel.Predictor'"):
        READERS[name](model)


@pytest.mark.parametrize("name", ["calibrated", "baseline_naive"])
def test_load_passes_the_device_to_predictors_that_take_one(name):
    predictor = load(VERSION / name / "model", "cpu")
    assert getattr(getattr(predictor, "predictor", None), "device", None) == ("cpu" if name == "calibrated" else None)


@pytest.mark.parametrize(("name", "file"), [("items", "items.json"), ("forecaster", "forecaster.json")])
def test_unknown_class_beside_the_predictor_is_refused(name, file, copy, sentinel):
    model = copy(name)
    edit(model / file, lambda content: [encoded(sentinel), content])
    with pytest.raises(ValueError, match=rf"{file}: .*'sentinel.Predictor'"):
        READERS[name](model)


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ("builtins.getattr", "instance"), ("functools.partial", "instance"), ("os.system", "type"),
        ("pathlib.PosixPath", "instance"), ("numpy.array", "instance"), ("s5forecast.aliases.allow", "type"),
        ("builtins.int", "instance"), ("builtins.tuple", "stateful"), (["os.system"], "type"), (None, "instance"),
    ],
)  # fmt: skip
def test_builtin_that_no_model_contains_is_refused(named, kind, copy):
    model = copy("direct_features")
    edit(model / "predictor.json", lambda content: content["kwargs"].update(batch_size=encoded(named, kind)))
    with pytest.raises(ValueError, match=r"predictor.json: the saved model names"):
        S5Predictor.deserialize(model)


def test_format_of_early_gluonts_versions_is_refused(copy, sentinel):
    model = copy("combined")
    (model / "0" / "gluonts-config.json").unlink()
    (model / "0" / "type.txt").write_text(sentinel)
    with pytest.raises(ValueError, match=r"type.txt"):
        CombinedPredictor.deserialize(model)


def test_user_class_can_be_allowed(copy, tmp_path, monkeypatch):
    (tmp_path / "own_outputs.py").write_text(
        "from s5forecast.distributions import NormalOutput\nclass OwnOutput(NormalOutput):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = copy("distribution_normal")
    edit(
        model / "predictor.json",
        lambda content: content["kwargs"]["prediction_net"]["kwargs"].update(output=encoded("own_outputs.OwnOutput")),
    )
    with pytest.raises(ValueError, match=r"aliases.allow\('own_outputs.OwnOutput'\)"):
        S5Predictor.deserialize(model)
    allow("own_outputs.OwnOutput")
    try:
        assert type(S5Predictor.deserialize(model).output).__name__ == "OwnOutput"
        assert resolve("own_outputs.OwnOutput").__name__ == "OwnOutput"
    finally:
        _allowed.clear()
    with pytest.raises(ValueError, match="own_outputs"):
        resolve("own_outputs.OwnOutput")


def test_pickled_tensors_are_refused(copy, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    model = copy("direct_features")
    torch.save({"weight": Attack()}, model / "prediction-net-state.pt")
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        S5Predictor.deserialize(model)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("members", ["../../elsewhere", ["../0"], {"weights": "../0"}, 10**9, -1, {}])
@pytest.mark.parametrize("name", ["ensemble", "combined"])
def test_members_outside_the_folder_are_refused(name, members, copy):
    model = copy(name)
    edit(model / "members.json", lambda content: members)
    with pytest.raises(ValueError, match=r"members.json"):
        READERS[name](model)


@pytest.mark.parametrize("part", ["0", "1/deeper"])
def test_links_to_other_folders_are_refused(part, copy, tmp_path):
    model = copy("ensemble")
    elsewhere = shutil.copytree(VERSION / "direct_skip" / "model", tmp_path / "elsewhere")
    if (model / part).exists():
        shutil.rmtree(model / part)
    (model / part).symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(ValueError, match=r"is a link to another folder"):
        EnsemblePredictor.deserialize(model)


@pytest.mark.parametrize("name", ["width", "num_layers", "patch_length"])
def test_network_larger_than_its_weights_is_not_built(name, copy):
    model = copy("direct_features")
    edit(
        model / "predictor.json",
        lambda content: content["kwargs"]["prediction_net"]["kwargs"].update({name: 100_000}),
    )
    with pytest.raises(ValueError, match=r"larger than its weights"):
        S5Predictor.deserialize(model)


def test_states_larger_than_the_weights_are_not_built(copy):
    model = copy("direct_features")
    edit(
        model / "predictor.json",
        lambda content: content["kwargs"]["prediction_net"]["kwargs"]["layer_kwargs"].update(state_size=10**7),
    )
    with pytest.raises(ValueError, match=r"larger than its weights"):
        S5Predictor.deserialize(model)


@pytest.mark.parametrize("size", [10**12, 1e12, "10", [1], -48, 0, True])
def test_absurd_windows_are_refused(size, copy):
    model = copy("autoregressive_encoder")
    edit(model / "predictor.json", lambda content: content["kwargs"]["spec"]["kwargs"].update(context_length=size))
    with pytest.raises(ValueError, match=r"context_length=.* must be a whole number from 1 to 1,000,000"):
        S5Predictor.deserialize(model)


def test_positional_windows_are_refused(copy):
    model = copy("autoregressive_encoder")
    edit(model / "predictor.json", lambda content: content["kwargs"]["spec"].update(args=["h", 10**12]))
    with pytest.raises(ValueError, match=r"must be named"):
        S5Predictor.deserialize(model)


def test_broken_json_names_the_file(copy):
    model = copy("direct_features")
    (model / "predictor.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"predictor.json is not valid JSON"):
        S5Predictor.deserialize(model)


def test_streams_are_checked(tmp_path, sentinel):
    stream = shutil.copytree(VERSION / "stream_direct" / "stream", tmp_path / "stream")
    edit(stream / "stream.json", lambda content: content.update(items=[encoded(sentinel)]))
    with pytest.raises(ValueError, match=r"stream.json"):
        SeriesStates.load(stream, "")


def test_gluonts_deserialize_checks_the_folder(copy, sentinel):
    model = copy("direct_features")
    edit(model / "predictor.json", lambda content: content["kwargs"].update(batch_size=[encoded(sentinel)]))
    with pytest.raises(ValueError, match=r"sentinel"):
        Predictor.deserialize(model)
