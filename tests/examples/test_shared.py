"""What ends an example early is one line and the status of a shell."""

import argparse
import json
import signal
import sys
from pathlib import Path

import jax
import pytest

from pnct.inference import Interrupted, TrainingFailedError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (Interrupted(signal.SIGTERM, "Stopped."), 143, "Stopped. Here: the same command with --resume."),
        (KeyboardInterrupt(), 130, "Stopped by SIGINT. To go on: the same command with --resume."),
        (ValueError("Expected 1; got 2."), 2, "Expected 1; got 2."),
        (TrainingFailedError("No numbers."), "No numbers.", ""),
    ],
)
def test_an_early_end_is_one_line(monkeypatch, capsys, error, status, line):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    from shared import ended_in_one_line

    with pytest.raises(SystemExit) as end, ended_in_one_line(argparse.ArgumentParser()):
        raise error
    assert end.value.code == status
    assert (capsys.readouterr().err.splitlines() or [""])[-1].endswith(line)


def test_a_number_that_is_not_finite_is_null(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    from shared import write_json

    found = {"mass": {"value": 1.0, "error": float("nan")}, "several": [float("inf"), 2, "x"]}
    write_json(tmp_path / "result.json", argparse.Namespace(out=tmp_path, steps=3), found)
    result = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["mass"] == {"value": 1.0, "error": None} and result["several"] == [None, 2, "x"]
    assert result["config"] == {"out": str(tmp_path), "steps": 3}


def test_a_resumed_run_names_the_flags_that_were_others(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    from shared import directory_flags, ended_in_one_line, output_directory

    parser = argparse.ArgumentParser()
    parser.add_argument("--rs", type=float, nargs="+", default=[1.0])
    parser.add_argument("--seed", type=int, default=0)
    directory_flags(parser, str(tmp_path))
    output_directory(parser.parse_args([]), parser)

    def line(*flags):
        args = parser.parse_args(["--resume", *flags])
        output_directory(args, parser)
        with pytest.raises(SystemExit), ended_in_one_line(parser, args):
            raise ValueError("Expected a checkpoint of this run.")
        return capsys.readouterr().err.splitlines()[-1]

    assert line("--rs", "2", "3").endswith(
        f"Expected a checkpoint of this run. The run in {tmp_path} was begun with --rs 1.0."
    )
    assert line("--rs", "2", "--seed", "3").endswith("was begun with --rs 1.0  --seed 0.")
    assert line().endswith("Expected a checkpoint of this run.")
    (tmp_path / "flags.json").unlink()
    assert line("--seed", "1").endswith("Expected a checkpoint of this run.")


def test_compiled_programs_are_kept_in_the_users_cache_folder_unless_he_names_another(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    from shared import keep_compiled_programs

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    named = jax.config.jax_compilation_cache_dir
    keep_compiled_programs()  # the tests have named a place
    assert not list(tmp_path.iterdir()) and jax.config.jax_compilation_cache_dir == named

    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        keep_compiled_programs()
        place = Path(jax.config.jax_compilation_cache_dir)
        assert place.is_dir() and place.parent == tmp_path / "pnct" and str(place) in capsys.readouterr().err
    finally:
        jax.config.update("jax_compilation_cache_dir", named)
