"""The configuration file and the choice of a brain."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cabinos.cli.main import main
from cabinos.drivers.model import brain, local
from cabinos.drivers.model.brain import choose_brain
from cabinos.drivers.model.config import open_models
from cabinos.kernel.errors import KernelError
from cabinos.kernel.plugins import read_config
from tests.cli.support import Cabin
from tests.engine.fixtures import tiny_gguf


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"[cabin\n", "line 1"),
        (b"a = \xff", "not UTF-8 text (byte 4)"),
        (b"[modle.a]\nprovider = 'openai'", "Did you mean [model]?"),
        (b"files = 3", "must be a table: [files]"),
        (b"[cabin]\nmodell = 'x'", "Did you mean model?"),
        (b"[cabin]\nmodel = 3", "[cabin] model must be a str"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: bytes, told: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(text)
    with pytest.raises(KernelError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_no_file_is_an_empty_configuration(tmp_path: Path) -> None:
    assert read_config(tmp_path / "config.toml") == {}


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        read_config(tmp_path)


def test_what_a_device_refuses_names_the_file(cabin: Cabin) -> None:
    (cabin.home / "config.toml").write_text('[puppet]\ncolour = "green"\n')
    for verb in (["say hi"], ["chat"], ["up"]):
        result = cabin(*verb)
        assert result.returncode == 1
        assert "config.toml" in result.stderr
        assert "puppet.colour" in result.stderr
    findings = {f["name"]: f for f in cabin.json("doctor", code=1)["findings"]}
    assert "puppet.colour" in findings["config"]["detail"]


@pytest.fixture
def models(oz_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models' folder with a chat model and one that is none."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a-base.gguf").symlink_to(oz_model)
    tiny_gguf(folder / "b-chat.gguf")
    monkeypatch.setenv("CABIN_MODELS", str(folder))
    monkeypatch.delenv("CABIN_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(brain, "BUILT_IN", tmp_path / "no.gguf")
    return folder


def test_the_first_chat_model_is_the_brain(models: Path) -> None:
    config, name = choose_brain({}, None)
    assert name == "b-chat"
    assert config["model"] == {"b-chat": {"provider": "local", "path": str(models / "b-chat.gguf")}}


def test_a_model_that_happens_to_lie_here_is_not_taken(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    monkeypatch.setenv("CABIN_MODELS", str(models / "none"))
    assert choose_brain({}, None) == ({}, None)
    assert choose_brain({}, "b-chat")[1] == "b-chat"
    assert choose_brain({}, "./b-chat.gguf")[1] == "b-chat"


def test_in_this_order(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model": {"first": {}, "second": {}}}
    assert choose_brain(config, None)[1] == "first"
    config["cabin"] = {"model": "second"}
    assert choose_brain(config, None)[1] == "second"
    monkeypatch.setenv("CABIN_MODEL", "a-base")
    assert choose_brain(config, None)[1] == "a-base"
    assert choose_brain(config, "first") == (config, "first")
    assert choose_brain(config, "stranger") == (config, "stranger")


def test_a_path_that_leads_nowhere_is_named(models: Path) -> None:
    with pytest.raises(KernelError, match="no such model file"):
        choose_brain({}, "nowhere/x.gguf")


# ---- the built-in brain, and the one to hand over to ---------------------------------------------


@pytest.fixture
def built_in(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A brain in the box, and no model in the models' folder."""
    path = tiny_gguf(tmp_path / "nano.gguf")
    monkeypatch.setattr(brain, "BUILT_IN", path)
    monkeypatch.setattr(local, "BUILT_IN", path)
    monkeypatch.setenv("CABIN_MODELS", str(models / "none"))
    return path


def test_the_built_in_model_is_the_last_resort(
    built_in: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_table = {"provider": "local", "path": str(built_in)}
    config, name = choose_brain({}, None)
    assert (config["model"], name) == ({"nano": local_table}, None)  # a plug-in's goes before it
    (model,) = open_models(config["model"])
    assert (model.name, model.built_in) == ("nano", True)  # type: ignore[attr-defined]
    configured = {"model": {"first": {}}}
    assert choose_brain(configured, None) == (configured, "first")
    assert choose_brain(configured, "nano")[1] == "nano"
    assert choose_brain(configured, "nano")[0]["model"]["nano"] == local_table
    monkeypatch.setenv("CABIN_MODELS", str(models))
    assert choose_brain({}, None)[1] == "b-chat"
    assert not open_models(choose_brain({}, None)[0]["model"])[0].built_in  # type: ignore[attr-defined]


def test_a_model_to_hand_over_to_is_not_the_brain(built_in: Path, models: Path) -> None:
    config = {"cabin": {"escalate": "smart"}, "model": {"smart": {}}}
    chosen, name = choose_brain(config, None)
    assert (name, list(chosen["model"])) == ("nano", ["smart", "nano"])
    chosen, name = choose_brain({**config, "model": {"smart": {}, "small": {}}}, None)
    assert name == "small"
    built_in.unlink()
    assert choose_brain(config, None)[1] == "smart"  # better than none
    path = str(models / "b-chat.gguf")
    chosen, name = choose_brain({"cabin": {"escalate": path}, "model": {"small": {}}}, None)
    assert (chosen["cabin"]["escalate"], name) == ("b-chat", "small")
    assert chosen["model"]["b-chat"] == {"provider": "local", "path": path}


def test_the_built_in_model_is_listed(built_in: Path) -> None:
    listed = CliRunner().invoke(main, ["models"])
    assert "nano (built in)" in listed.stdout
    *others, model = json.loads(CliRunner().invoke(main, ["models", "--json"]).stdout)["models"]
    assert (model["path"], model["built_in"]) == (str(built_in), True)
    assert not any(other.get("built_in") for other in others)
    findings = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)["findings"]
    (brains,) = [finding for finding in findings if finding["name"] == "brains"]
    assert "nano (built in)" in brains["detail"]
