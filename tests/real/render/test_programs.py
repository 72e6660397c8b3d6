"""Programs as the operating system runs them: what they see, what they may use, and that nothing is left of them."""

import os
import sys
import time
from pathlib import Path

import pytest
from parts.eventually import eventually

from towline.shared.errors import ProgramLimit, RenderError
from towline.worker.render.network import Isolation, Starter, starter
from towline.worker.render.programs import MIB, Finished, Limits, Programs, run


def python(code: str, folder: Path, **limits: float) -> Finished:
    return run([sys.executable, "-I", "-c", code], folder=folder, limits=Limits(**limits))  # type: ignore[arg-type]


def is_running(mark: str) -> bool:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in process.read_bytes() and str(os.getpid()) != process.parent.name:
                return True
        except OSError:
            continue
    return False


def test_a_program_sees_nothing_of_our_environment(tmp_path: Path) -> None:
    # when
    finished = run(["/usr/bin/env"], folder=tmp_path)
    # then
    variables = dict(line.split("=", 1) for line in finished.output.decode().splitlines())
    assert set(variables) == {
        "HOME", "PATH", "TMPDIR", "XDG_CONFIG_HOME", "LC_ALL", "GOMAXPROCS", "GOGC", "GOMEMLIMIT"
    }  # fmt: skip
    assert not Path(variables["PATH"]).exists()
    assert not Path(variables["HOME"]).exists()


def test_a_program_works_in_its_folder_and_reads_no_input(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    assert run(["/bin/ls"], folder=tmp_path).output == b"here\n"
    assert run(["/bin/cat"], folder=tmp_path).output == b""


def test_a_program_has_no_network(tmp_path: Path) -> None:
    # when
    finished = run(["/bin/cat", "/proc/net/dev"], folder=tmp_path)
    # then
    interfaces = {line.split(":")[0].strip() for line in finished.output.decode().splitlines()[2:]}
    if starter().isolation is Isolation.NONE:
        assert os.geteuid() != 0  # root may always leave the network where these tests run
    else:
        assert interfaces <= {"lo"}


def test_we_ourselves_keep_the_network(tmp_path: Path) -> None:
    # given
    before = Path("/proc/self/net/dev").read_text().count(":")
    # when
    run(["/bin/true"], folder=tmp_path)
    # then
    assert Path("/proc/self/net/dev").read_text().count(":") == before


def test_a_program_has_no_network_through_unshare_either(tmp_path: Path) -> None:
    # given: a starter that found that its thread may not leave the network
    through_program = Starter()
    through_program.isolation = Isolation.PROGRAM
    # when
    process = through_program.start(["/bin/cat", "/proc/net/dev"], {"cwd": tmp_path, "stdout": -1})
    output, _ = process.communicate(timeout=10)
    # then
    assert {line.split(b":")[0].strip() for line in output.splitlines()[2:]} <= {b"lo"}
    assert process.returncode == 0


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    # given
    mark = f"towline-test-{os.getpid()}"
    code = f"'{mark}'; import os, time; os.fork(); time.sleep(60)"
    started = time.monotonic()
    # when
    with pytest.raises(ProgramLimit, match=r"within 0\.3 s"):
        python(code, tmp_path, seconds=0.3)
    # then
    assert time.monotonic() - started < 5
    eventually(lambda: not is_running(mark), within=5)


def test_a_program_that_closes_its_output_and_stays_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ProgramLimit, match="did not end"):
        python("import os, time; os.close(1); os.close(2); time.sleep(60)", tmp_path, seconds=0.5)


@pytest.mark.parametrize(("stream", "field"), [(1, "output_bytes"), (2, "message_bytes")])
@pytest.mark.parametrize(("extra", "is_refused"), [(0, False), (1, True)])
def test_output_has_a_limit(stream: int, field: str, extra: int, is_refused: bool, tmp_path: Path) -> None:
    code = f"import os; os.write({stream}, b'x' * {1000 + extra})"
    if is_refused:
        with pytest.raises(ProgramLimit, match="more than 1000 bytes"):
            python(code, tmp_path, **{field: 1000})
    else:
        assert python(code, tmp_path, **{field: 1000}).status == 0


def test_endless_output_ends(tmp_path: Path) -> None:
    with pytest.raises(ProgramLimit):
        run(["/usr/bin/yes"], folder=tmp_path, limits=Limits(output_bytes=10 * MIB))


def test_cpu_time_has_a_limit(tmp_path: Path) -> None:
    with pytest.raises(ProgramLimit, match="1 s of CPU"):
        python("while True: pass", tmp_path, cpu_seconds=1, seconds=20)


@pytest.mark.parametrize(("size", "status"), [(32 * MIB, 0), (512 * MIB, 1)])
def test_memory_has_a_limit(size: int, status: int, tmp_path: Path) -> None:
    code = f"len(bytearray({size}))"
    assert python(code, tmp_path, memory_bytes=128 * MIB).status == status


def test_kustomize_out_of_memory_is_named_so(kustomize: Path, tmp_path: Path) -> None:
    # given: a build that needs more than Go's runtime has at its start
    items = "\n".join(f"  key{n}: value{n}" for n in range(5_000))
    (tmp_path / "a.yaml").write_text(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n{items}\n"
    )
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]\nnamePrefix: x-\n")
    # then
    with pytest.raises(ProgramLimit, match="kustomize needs more than"):
        run([kustomize, "build", tmp_path], folder=tmp_path, limits=Limits(memory_bytes=64 * MIB))
    assert run([kustomize, "build", tmp_path], folder=tmp_path).status == 0


def test_a_program_can_write_no_file(tmp_path: Path) -> None:
    finished = python("import os; os.write(os.open('x', os.O_CREAT | os.O_WRONLY), b'x')", tmp_path)
    assert finished.status != 0
    assert "File too large" in finished.message


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="cannot be started: No such file"):
        run([tmp_path / "missing"], folder=tmp_path)


def test_programs_are_found_by_variable_then_beside_this_python_then_on_the_path(tmp_path: Path) -> None:
    # given
    for name in ("kustomize", "mine"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    beside = Path(sys.executable).parent / "kustomize"
    # then
    found = Programs.find({"PATH": str(tmp_path)})
    assert found.kustomize == (beside if beside.exists() else tmp_path / "kustomize")
    named = Programs.find({"PATH": str(tmp_path), "TOWLINE_KUSTOMIZE": str(tmp_path / "mine")})
    assert named.kustomize == tmp_path / "mine"


def test_a_program_that_is_missing_says_how_to_install_it() -> None:
    with pytest.raises(RenderError) as caught:
        Programs().path("kustomize")
    assert "TOWLINE_KUSTOMIZE" in caught.value.hint


def test_the_version_of_a_program_is_known(kustomize: Path, tmp_path: Path) -> None:
    assert Programs(kustomize=kustomize).version("kustomize").startswith("v5.")
    assert Programs().version("kustomize") == "none"
    assert Programs(kustomize=tmp_path / "gone").version("kustomize") == "none"
