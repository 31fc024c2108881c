"""
libalphastream as players use it: from C, from C++, through dlopen, from .NET; with threads, forks, and hostile files.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_container
import test_hostile
from badserver import Request, Server, close_when_idle, never
from hosts import need, skip_or_fail
from PIL import Image
from support import (
    NATIVE,
    PACKAGE,
    ROOT,
    SAMPLE,
    SQUARE,
    asvp_of,
    block_of,
    golden_frames,
    sample_geometries,
    sha256,
)

from alphastream_gpu import AsvrKey, AsvrWriter, ErrorCode, FrameGeometry, __version__, rasterize
from alphastream_gpu._capi import declarations
from alphastream_gpu._capi.build import LIBRARY, _pkg_config, build
from alphastream_gpu._capi.declarations import (
    PREFIX,
    cdef,
    enumerations,
    error_codes,
    exports,
    functions,
    header,
    shim_functions,
    structs,
)

SOURCES = ROOT / "tests" / "capi"
STRICT = ["-O1", "-Wall", "-Wextra", "-Werror"]
C11 = ["-std=c11", "-D_POSIX_C_SOURCE=200809L"]
SMALL = (256, 128)


@pytest.fixture(scope="session")
def capi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the library, built with the user's command."""
    need("cc", "apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("capi")
    done = subprocess.run(
        [sys.executable, "-m", "alphastream_gpu", "build-capi", "-o", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 3 and "compiling" not in done.stderr:
        skip_or_fail(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.split() == [
        str(folder / name) for name in (LIBRARY, "alphastream.h", "alphastream.pc", "alphastream.cmake")
    ]
    return folder


@pytest.fixture(scope="session")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of the masks' hashes: at native size, from the golden hashes, and at 256 x 128."""
    folder = tmp_path_factory.mktemp("hashes")
    native, small = folder / "native", folder / "small"
    native.write_text("\n".join(frame["sha256"] for frame in golden_frames()))
    small.write_text("\n".join(sha256(rasterize(geometry, SMALL)) for geometry in sample_geometries()))
    return native, small


def compile_c(capi: Path, source: Path, *options: str, compiler: str = "gcc") -> Path:
    """Compile a program into the library's folder, and link it to the library."""
    need(compiler, f"apt-get install {compiler}")
    program = capi / f"{source.stem}-{abs(hash((compiler, options))):x}"
    link = ["-L", str(capi), "-lalphastream", f"-Wl,-rpath,{capi}", "-pthread", "-ldl"]
    command = [compiler, *options, *STRICT, "-I", str(capi), str(source), "-o", str(program), *link]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return program


def run(*command: str | Path, timeout: float = 240, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program with an empty environment in another folder, so that nothing helps the library to find its
    interpreter."""
    return subprocess.run(
        [str(part) for part in command],
        env=variables,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_ok(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("ok\n")


@pytest.fixture(scope="session")
def loaded(capi: Path) -> Path:
    """The program that uses only dlopen and dlsym."""
    return compile_c(capi, SOURCES / "loaded.c", *C11)


ELEVEN = """
    void* CV_create(void);
    void CV_destroy(void* handle);
    const char* CV_get_name(void* handle);
    const char* CV_get_version(void* handle);
    int CV_get_last_error_code(void* handle);
    const char* CV_get_last_error_text(void* handle);
    unsigned int CV_get_total_frames(void* handle);
    unsigned int CV_get_frame_size(void* handle);
    bool CV_init(void* handle, const char* base_url, unsigned int scene_id, unsigned int width,
                 unsigned int height, const char* version, unsigned int start_frame,
                 unsigned int l0_buffer_length, unsigned int l1_buffer_length,
                 unsigned int l1_buffer_init_length, unsigned int init_timeout_ms,
                 unsigned int data_timeout_ms);
    const void* CV_get_frame(void* handle, unsigned long long frame_index);
    bool CV_get_triangle_strip_vertices(void* handle, unsigned long long frame_index,
                                        float** out_vertices, size_t* out_count);
"""
"""The signatures that players are compiled with, in full."""
BEYOND = """
    bool CV_set_option(void* handle, const char* name, const char* value);
    int CV_get_state(void* handle);
    bool CV_seek(void* handle, unsigned long long frame_index, int direction);
    const void* CV_poll_frame(void* handle, unsigned long long frame_index);
    bool CV_cancel_frame(void* handle, unsigned long long frame_index);
    int CV_get_frame_state(void* handle, unsigned long long frame_index);
    size_t CV_get_buffered_ranges(void* handle, alphastream_range* out_ranges, size_t capacity);
    double CV_get_buffered_seconds(void* handle);
    unsigned int CV_prefetch(void* handle, unsigned long long start, unsigned long long stop);
    int CV_get_prefetch_state(void* handle, unsigned int prefetch_id);
    bool CV_cancel_prefetch(void* handle, unsigned int prefetch_id);
"""
"""Those of the functions that the original library does not have."""
NUMBERS = {
    "FRAME": {"FAILED": -1, "MISSING": 0, "COMING": 1, "FETCHED": 2, "READY": 3},
    "STATE": {
        "FAILED": -1, "NONE": 0, "OPENING": 1, "BUFFERING": 2, "PLAYING": 3, "STALLED": 4, "ENDED": 5,
    },
}  # fmt: skip
"""The numbers of the states, which are compiled into players, too."""


def test_header_cdef_shim_and_library_agree(capi: Path) -> None:
    """Compares the data file, the texts that are generated from it, and the linker's exports."""
    need("nm", "apt-get install binutils")
    names = [function.name for function in functions()]
    assert len(names) == len(set(names)) == 22
    assert sorted(names) == sorted(re.findall(r"CV_\w+", ELEVEN + BEYOND))
    assert re.findall(r"^ALPHASTREAM_API .*?(CV_\w+)\(", header(), re.M) == names
    assert re.findall(r"^ALPHASTREAM_API .*?(CV_\w+)\(", shim_functions({"name": "n", "version": "v"}), re.M) == names
    called = [function.name for function in functions() if not function.constant]
    assert re.findall(rf"{PREFIX}(CV_\w+)\(", cdef()) == called
    assert re.findall(r"CV_\w+", exports()) == names
    done = subprocess.run(["nm", "-D", "--defined-only", capi / LIBRARY], capture_output=True, text=True, check=True)
    assert sorted(line.split()[-1] for line in done.stdout.splitlines()) == sorted(names)
    assert (capi / "alphastream.h").read_text() == header()


def test_the_signatures_are_unchanged() -> None:
    """The eleven functions come first, in the order of the original header."""
    declared = "".join(f"{one.result} {one.name}({one.parameters});" for one in functions())
    assert declared.split() == " ".join((ELEVEN + BEYOND).split()).replace("; ", ";").split()
    assert [field for _, struct in structs() for field in re.findall(r"    (.*);", struct)] == [
        "unsigned long long start",
        "unsigned long long stop",
    ]
    numbers = {one.prefix.split("_")[1]: {state.name: int(state) for state in one.states} for one in enumerations()}
    assert numbers == NUMBERS
    assert {code: int(error) for code, error in error_codes().items()} == {
        f"ALPHASTREAM_{error.name}": int(error) for error in ErrorCode
    }


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "options"), [("gcc", C11), ("g++", ["-x", "c++"])])
def test_a_program_that_links(
    capi: Path, hashes: tuple[Path, Path], compiler: str, options: list[str], tmp_path: Path, passphrase: bytes
) -> None:
    """Every function, every error, lifetimes, all hashes. Then the same stream as an ASVR over HTTP."""
    program = compile_c(capi, SOURCES / "linked.c", *options, compiler=compiler)
    key = AsvrKey(passphrase, scene_id=85342, version="1.5.0")
    with AsvrWriter(tmp_path / "person.asvr", key=key) as writer:
        for geometry in sample_geometries():
            writer.add_frame(geometry)
    with Server((tmp_path / "person.asvr").read_bytes()) as server:
        done = run(
            program,
            SAMPLE,
            hashes[0],
            server.url("/person.asvr"),
            "85342",
            "1.5.0",
            ALPHASTREAM_PASSPHRASE=passphrase.hex(),
        )
        assert_ok(done)
        assert server.requests


@pytest.mark.slow
def test_wrong_and_missing_passphrases(
    capi: Path, loaded: Path, hashes: tuple[Path, Path], tmp_path: Path, passphrase: bytes
) -> None:
    path = tmp_path / "person.asvr"
    with AsvrWriter(path, key=AsvrKey(passphrase, scene_id=1, version="1.5.0")) as writer:
        writer.add_frame(FrameGeometry.from_payload(SQUARE))
    for variables, code in (
        ({}, ErrorCode.INVALID),
        ({"ALPHASTREAM_PASSPHRASE": os.urandom(32).hex()}, ErrorCode.DECODE),
        ({"ALPHASTREAM_PASSPHRASE": "short"}, ErrorCode.INVALID),
        ({"ALPHASTREAM_PASSPHRASE": passphrase.hex()}, ErrorCode.NONE),
    ):
        done = run(loaded, "survive", capi / LIBRARY, SAMPLE, hashes[1], path, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split()[:2] == [str(int(code == 0)), str(int(code))]
        assert passphrase.hex() not in done.stdout


@pytest.mark.slow
def test_out_count_is_the_number_of_floats(capi: Path, tmp_path: Path) -> None:
    """Two per vertex, as in the original library. A triangle has three vertices, and therefore six floats."""
    (tmp_path / "floats.c").write_text(
        """
        #include "alphastream.h"
        #include <stdio.h>
        int main(int argc, char **argv)
        {
            void *handle = CV_create();
            float *vertices;
            size_t count;
            if (argc < 2 || !CV_init(handle, argv[1], 0, 16, 16, NULL, 0, 0, 8, 1, 0, 0))
                return 2;
            while (!CV_get_triangle_strip_vertices(handle, 0, &vertices, &count))
                if (CV_get_last_error_code(handle) != ALPHASTREAM_TIMEOUT)
                    return 3;
            for (size_t i = 0; i < count; i++)
                printf("%g ", vertices[i]);
            CV_destroy(handle);
            return 0;
        }
        """
    )
    triangle = FrameGeometry([(0, 0), (90, 0), (0, 70)])
    path = tmp_path / "triangle.asvp"
    path.write_bytes(asvp_of([block_of(triangle.to_payload())]))
    done = run(compile_c(capi, tmp_path / "floats.c", *C11), path)
    assert (done.returncode, done.stderr) == (0, "")
    found = done.stdout.split()
    assert sorted(zip(found[::2], found[1::2], strict=True)) == [("0", "0"), ("0", "70"), ("90", "0")]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["play", "threads", "fork", "signals", "leave"])
def test_a_program_that_loads(capi: Path, loaded: Path, hashes: tuple[Path, Path], mode: str) -> None:
    """threads: eight threads, four handles, 20,000 calls, all hashes correct. leave: no handle is destroyed."""
    assert_ok(run(loaded, mode, capi / LIBRARY, SAMPLE, hashes[1]))


@pytest.mark.slow
def test_a_file_url(capi: Path, loaded: Path, hashes: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "a person ä.asvp"
    path.write_bytes(SAMPLE.read_bytes())
    assert_ok(run(loaded, "play", capi / LIBRARY, path.as_uri(), hashes[1]))


@pytest.fixture(scope="session")
def long_stream(hashes: tuple[Path, Path]) -> tuple[bytes, Path]:
    """The sample repeated sixteen times, longer than the first read, and a file of its masks' hashes at 256 x 128."""
    small = hashes[1].with_name("long")
    small.write_text("\n".join([hashes[1].read_text()] * 16))
    return asvp_of([block_of(geometry.to_payload()) for geometry in sample_geometries()] * 16), small


@pytest.fixture(scope="session")
def waiting(capi: Path) -> Path:
    """The program that tests waiting calls."""
    return compile_c(capi, SOURCES / "waiting.c", *C11)


@pytest.fixture(scope="session")
def polling(capi: Path) -> Path:
    """The program that tests the functions that never wait."""
    return compile_c(capi, SOURCES / "polling.c", *C11)


@pytest.mark.parametrize(
    "mode", ["play", "garbage", *(pytest.param(one, marks=pytest.mark.slow) for one in ("threads", "race", "leave"))]
)
def test_functions_that_never_wait(polling: Path, long_stream: tuple[bytes, Path], mode: str, tmp_path: Path) -> None:
    """threads: eight threads, one handle, all hashes correct. race: they also destroy and open handles."""
    path = tmp_path / "long.asvp"
    path.write_bytes(long_stream[0])
    assert_ok(run(polling, mode, path, long_stream[1]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["play", "threads", "race", "leave"])
def test_functions_that_never_wait_over_http(polling: Path, long_stream: tuple[bytes, Path], mode: str) -> None:
    with Server(long_stream[0], latency=0.005) as server:
        assert_ok(run(polling, mode, server.url(), long_stream[1]))


@pytest.mark.slow
def test_functions_that_never_wait_for_a_server(polling: Path, long_stream: tuple[bytes, Path]) -> None:
    with Server(long_stream[0], lambda request: never if after_the_start(request) else None) as server:
        assert_ok(run(polling, "stuck", server.url(), long_stream[1]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["play", "garbage", "threads"])
def test_functions_that_never_wait_under_the_address_sanitizer(
    capi: Path, long_stream: tuple[bytes, Path], mode: str, tmp_path: Path
) -> None:
    """Masks that are valid are not freed, and nothing is written behind a caller's buffer."""
    program = compile_c(capi, SOURCES / "polling.c", *C11, "-fsanitize=address", "-g")
    path = tmp_path / "long.asvp"
    path.write_bytes(long_stream[0])
    options = "detect_leaks=0:detect_stack_use_after_return=1:quarantine_size_mb=16"
    assert_ok(run(program, mode, path, long_stream[1], ASAN_OPTIONS=options, PYTHONMALLOC="malloc"))


@pytest.mark.slow
def test_a_server_that_does_not_respond(waiting: Path, hashes: tuple[Path, Path]) -> None:
    """CV_init ends in time, and at once after CV_destroy. Another CV_init waits within its own time. So does exit."""
    with Server(b"", lambda request: never) as server:
        assert_ok(run(waiting, "silent", server.url(), hashes[1], timeout=60))
        assert_ok(run(waiting, "leave", server.url(), hashes[1], timeout=30))
        assert_ok(run(waiting, "cancelled", server.url(), hashes[1], timeout=30))


@pytest.mark.slow
def test_a_name_server_that_does_not_respond(capi: Path, waiting: Path, hashes: tuple[Path, Path]) -> None:
    """A name lookup cannot be interrupted. No call waits for it."""
    slow = capi / "slow_names.so"
    subprocess.run(["gcc", "-shared", "-fPIC", SOURCES / "slow_names.c", "-o", slow], check=True)
    for mode in ("silent", "leave"):
        done = run(waiting, mode, "http://example.invalid/person.asvp", hashes[1], timeout=40, LD_PRELOAD=str(slow))
        assert_ok(done)


def after_the_start(request: Request) -> bool:
    """Return whether a request is for frames, not for header and table."""
    return request.range[0] > 0


@pytest.mark.slow
def test_frames_that_do_not_arrive(waiting: Path, long_stream: tuple[bytes, Path]) -> None:
    """TIMEOUT after the time box, and again after data_timeout_ms: in both cases the host asks again. CV_init waits for
    the frames only within its time."""
    with Server(long_stream[0], lambda request: never if after_the_start(request) else None) as server:
        assert_ok(run(waiting, "stuck", server.url(), long_stream[1]))


@pytest.mark.slow
def test_frames_that_are_ready_when_cv_init_returns(waiting: Path, long_stream: tuple[bytes, Path]) -> None:
    with Server(long_stream[0], latency=0.2) as server:
        assert_ok(run(waiting, "prefetched", server.url(), long_stream[1]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["together", "race", "own_errors"])
def test_competing_threads(waiting: Path, long_stream: tuple[bytes, Path], mode: str, tmp_path: Path) -> None:
    path = tmp_path / "long.asvp"
    path.write_bytes(long_stream[0])
    assert_ok(run(waiting, mode, path, long_stream[1]))
    with Server(long_stream[0], latency=0.005) as server:
        assert_ok(run(waiting, mode, server.url(), long_stream[1]))


@pytest.mark.slow
def test_a_server_that_closes_connections(capi: Path, loaded: Path, long_stream: tuple[bytes, Path]) -> None:
    """A write to a closed connection raises SIGPIPE, which would end the process."""
    with Server(long_stream[0], lambda request: close_when_idle) as server:
        assert_ok(run(loaded, "play", capi / LIBRARY, server.url(), long_stream[1]))
        assert len(server.requests) > 3


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["play", "fork", "signals", "leave"])
def test_a_program_that_loads_over_http(capi: Path, loaded: Path, hashes: tuple[Path, Path], mode: str) -> None:
    with Server(SAMPLE.read_bytes(), latency=0.01) as server:
        assert_ok(run(loaded, mode, capi / LIBRARY, server.url(), hashes[1]))


@pytest.mark.slow
def test_ten_thousand_frames_under_the_address_sanitizer(capi: Path, hashes: tuple[Path, Path]) -> None:
    """
    The host's code and every allocation of the process are instrumented. Reads of freed memory are found, and memory
    use stays constant.

    Leaks are not checked, because Python keeps its memory until the process ends.
    """
    program = compile_c(capi, SOURCES / "loaded.c", *C11, "-fsanitize=address", "-g")
    done = run(
        program, "soak", capi / LIBRARY, SAMPLE, hashes[1], "10000",
        ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1:quarantine_size_mb=16", PYTHONMALLOC="malloc",
    )  # fmt: skip
    assert_ok(done)


@pytest.mark.slow
def test_the_sanitizer_finds_a_read_after_the_next_call(capi: Path, tmp_path: Path) -> None:
    """The check above can fail: this program breaks the lifetime rule."""
    (tmp_path / "late.c").write_text(
        """
        #include "alphastream.h"
        #include <stdio.h>
        int main(int argc, char **argv)
        {
            void *handle = CV_create();
            const unsigned char *mask;
            if (argc < 2 || !CV_init(handle, argv[1], 0, 2048, 1024, NULL, 0, 0, 8, 0, 0, 0))
                return 2;
            do mask = (const unsigned char *)CV_get_frame(handle, 1); while (!mask);
            CV_destroy(handle);
            printf("%d", mask[5]);
            return 0;
        }
        """
    )
    program = compile_c(capi, tmp_path / "late.c", *C11, "-fsanitize=address")
    done = run(program, SAMPLE, ASAN_OPTIONS="detect_leaks=0", PYTHONMALLOC="malloc")
    assert done.returncode not in (0, 2)
    assert "heap-use-after-free" in done.stderr


def hostile_files(folder: Path) -> list[Path]:
    """The files of the Python tests: truncated, with flipped bits, with wrong sizes, with too large frames."""
    data = [test_hostile.FILE[:length] for length in range(len(test_hostile.FILE))]
    for bit in range(0, 8 * len(test_hostile.FILE), 3):
        flipped = bytearray(test_hostile.FILE)
        flipped[bit // 8] ^= 1 << bit % 8
        data.append(bytes(flipped))
    for test in (test_container.test_malformed_containers, test_container.test_malformed_tables):
        data += [case for case, _ in cases_of(test)]
    data += [
        asvp_of([block_of(SQUARE), block, block_of(SQUARE)])
        for block, _ in cases_of(test_container.test_malformed_blocks)
    ]
    bomb = zlib.compress(bytes(1 << 30), 9)
    near = zlib.compress(struct.pack("<4Q", *[(1 << 64) - 2] * 4))
    names = {"asvp_of": asvp_of, "block_of": block_of, "struct": struct, "zlib": zlib, "BOMB": bomb, "NEAR": near}
    data += [eval(attack, names) for attack in test_hostile.ATTACKS.values()]
    rng = np.random.default_rng(9)
    for _ in range(30):
        noisy = bytearray(SAMPLE.read_bytes())
        for at in rng.integers(0, len(noisy), 8).tolist():
            noisy[at] ^= int(rng.integers(1, 256))
        data.append(bytes(noisy))
    paths = []
    for number, content in enumerate(data):
        paths.append(folder / f"{number}.asvp")
        paths[-1].write_bytes(content)
    return paths


def cases_of(test: Any) -> list[tuple[bytes, str]]:
    """The cases of a parametrized test."""
    return list(test.pytestmark[0].args[1])


@pytest.mark.slow
def test_hostile_files(capi: Path, loaded: Path, hashes: tuple[Path, Path], tmp_path: Path) -> None:
    """Each call returns a code and a text, in one process, without a crash. Returned frames have only mask bytes."""
    paths = hostile_files(tmp_path)
    done = run(
        loaded, "survive", capi / LIBRARY, SAMPLE, hashes[1], *paths, tmp_path / "none", tmp_path, "/dev/null", SAMPLE
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(answers) == len(paths) + 4
    assert {seen for *_, seen in answers} <= {0, 255}
    assert answers[-1] == (1, 0, 120, 40, 255)
    codes = {code for _, code, *_ in answers}
    assert codes == {int(ErrorCode.NONE), int(ErrorCode.DECODE), int(ErrorCode.TRANSPORT)}


@pytest.mark.slow
def test_dotnet(capi: Path, tmp_path: Path) -> None:
    """The guide's C# program on Mono: the hashes of the sample, strips, and an error."""
    mcs = need("mcs", "apt-get install mono-mcs")
    mono = need("mono", "apt-get install mono-runtime")
    program = tmp_path / "Player.exe"
    source = ROOT / "examples" / "native" / "Player.cs"
    subprocess.run([mcs, "-warnaserror", f"-out:{program}", source], check=True, capture_output=True)
    variables = {"LD_LIBRARY_PATH": str(capi), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = run(mono, program, SAMPLE, "0", "119", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first == f"alphastream_gpu {__version__}: 120 frames"
    geometries = sample_geometries()
    for index, line in enumerate(lines):
        n_vertices = len(geometries[index].triangle_strip())
        assert line == f"{index} {golden_frames()[index]['sha256']} {n_vertices}"
    assert len(lines) == 120
    done = run(mono, program, SAMPLE, "120", "120", **variables)
    assert (done.returncode, done.stderr) == (1, "Player: frame 120: expected 0..119, the stream has 120 frames (3)\n")
    done = run(mono, program, tmp_path / "none", "0", "0", **variables)
    assert done.returncode == 1
    assert done.stderr.endswith("No such file or directory (-5)\n")


@pytest.mark.slow
def test_the_guides_c_program(capi: Path, tmp_path: Path) -> None:
    """Its output and its picture."""
    program = compile_c(capi, ROOT / "examples" / "native" / "player.c", *C11)
    done = run(program, SAMPLE, "60", tmp_path / "mask.pgm")
    assert (done.returncode, done.stderr) == (0, "")
    strip = sample_geometries()[60].triangle_strip()
    assert done.stdout == (
        f"alphastream_gpu {__version__}: 120 frames, 2097152 bytes each\n"
        f"a strip of {len(strip)} vertices, the first at {strip[0, 0]:g}, {strip[0, 1]:g}\n"
    )
    picture = np.asarray(Image.open(tmp_path / "mask.pgm"))
    assert picture.shape == NATIVE[::-1]
    assert sha256(picture) == golden_frames()[60]["sha256"]
    done = run(program, tmp_path / "none", "60", tmp_path / "no.pgm")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("player: ")


def check_seek_bar(printed: str, target: int, preview: int, n_frames: int) -> None:
    """What the guide's seek bars print: the frames in order with the preview between, and bars that fit."""
    covered = [frame["covered"] for frame in golden_frames()] * (n_frames // 120)
    lines = printed.splitlines()
    stop = min(target + 30, n_frames)
    played = [line for line in lines if line.startswith("frame ")]
    assert played == [f"frame {index}: {covered[index]} pixels" for index in range(target, stop)]
    assert lines.count(f"preview of frame {preview}: {covered[preview]} pixels") == 1
    bars = [line for line in lines if line.startswith("[")]
    form = re.compile(r"\[([#.|-]{60})\] (buffering|stalled|playing|ended), \d+\.\d s ahead")
    assert all(form.fullmatch(bar) for bar in bars), bars
    cells = [bar[1:61] for bar in bars]
    assert len(cells) >= 4
    for bar, head in ((cells[0], target), (cells[-1], stop - 1)):
        assert bar.index("|") == next(cell for cell in range(60) if head < (cell + 1) * n_frames // 60)
        assert bar.count("|") == 1
    first_frames = cells[-1][: 60 * 60 // n_frames]
    assert set(first_frames) <= {"#", "|"}, "the chapter that was fetched in advance"


def seek_bar_url(kind: str, long_stream: tuple[bytes, Path], stack: contextlib.ExitStack) -> tuple[str, int, int, int]:
    """A stream, a target, a preview and the number of frames."""
    if kind == "file":
        return str(SAMPLE), 95, 5, 120  # to the end of the stream
    server = stack.enter_context(Server(long_stream[0], latency=0.01))
    return server.url(), 1000, 700, 1920


@pytest.mark.parametrize("kind", [pytest.param("file", marks=pytest.mark.slow), "http"])
def test_the_guides_seek_bar(capi: Path, long_stream: tuple[bytes, Path], kind: str) -> None:
    """In C: what it plays, its preview and its bars."""
    program = compile_c(capi, ROOT / "examples" / "native" / "seekbar.c", *C11)
    with contextlib.ExitStack() as stack:
        url, target, preview, n_frames = seek_bar_url(kind, long_stream, stack)
        done = run(program, url, str(target), str(preview))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"alphastream_gpu {__version__}: {n_frames} frames\n")
        check_seek_bar(done.stdout, target, preview, n_frames)
        done = run(program, url, str(n_frames), "0")
    message = f"frame {n_frames}: expected 0..{n_frames - 1}, the stream has {n_frames} frames (3)"
    assert (done.returncode, done.stderr) == (1, f"seekbar: seek: {message}\n")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "http"])
def test_the_guides_seek_bar_on_dotnet(capi: Path, long_stream: tuple[bytes, Path], kind: str, tmp_path: Path) -> None:
    """In C#, on Mono: the same, and the range that it gives up."""
    mcs = need("mcs", "apt-get install mono-mcs")
    mono = need("mono", "apt-get install mono-runtime")
    program = tmp_path / "SeekBar.exe"
    source = ROOT / "examples" / "native" / "SeekBar.cs"
    subprocess.run([mcs, "-warnaserror", f"-out:{program}", source], check=True, capture_output=True)
    variables = {"LD_LIBRARY_PATH": str(capi), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with contextlib.ExitStack() as stack:
        url, target, preview, n_frames = seek_bar_url(kind, long_stream, stack)
        done = run(mono, program, url, str(target), str(preview), **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{n_frames} frames\nafter the drag, frame {target} is coming or here\n")
        check_seek_bar(done.stdout, target, preview, n_frames)
        done = run(mono, program, url, str(target), str(n_frames), **variables)
    message = f"frame {n_frames}: expected 0..{n_frames - 1}, the stream has {n_frames} frames (3)"
    assert (done.returncode, done.stderr) == (1, f"SeekBar: {message}\n")


def _shell_words(text: bytes) -> list[bytes]:
    """Split text like a shell. shlex rejects pkg-config's form of non-ASCII letters: a backslash per byte."""
    return [re.sub(rb"\\(.)", rb"\1", word, flags=re.DOTALL) for word in re.findall(rb"(?:\\.|[^\\\s])+", text)]


@pytest.fixture(params=["usual", "Müller's box"])
def placed(capi: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The library in a folder of that name, with the files that contain the folder's name."""
    folder = tmp_path / request.param
    shutil.copytree(capi, folder)
    (folder / "alphastream.pc").write_text(_pkg_config(folder, __version__))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["pkg-config", "cmake"])
def test_build_systems_find_it(placed: Path, tmp_path: Path, tool: str) -> None:
    need(tool, f"apt-get install {tool}")
    capi = placed
    assert (capi / "alphastream.pc").read_text().startswith("prefix=")
    source = ROOT / "examples" / "native" / "player.c"
    if tool == "pkg-config":

        def ask(*questions: str) -> list[str]:
            env = {**os.environ, "PKG_CONFIG_PATH": str(capi)}
            command = [tool, *questions, "alphastream"]
            said = subprocess.run(command, env=env, capture_output=True, check=True).stdout
            return [os.fsdecode(word) for word in _shell_words(said)]

        assert ask("--modversion") == [__version__]
        flags = ask("--cflags", "--libs")
        assert flags[0] == f"-I{capi}"
        subprocess.run(["gcc", source, "-o", tmp_path / "player", *flags], check=True)
    else:
        (tmp_path / "CMakeLists.txt").write_text(
            f'cmake_minimum_required(VERSION 3.16)\nproject(player C)\ninclude("{capi}/alphastream.cmake")\n'
            f'add_executable(player "{source}")\ntarget_link_libraries(player PRIVATE alphastream::alphastream)\n'
        )
        subprocess.run([tool, "-S", tmp_path, "-B", tmp_path], check=True, capture_output=True)
        subprocess.run([tool, "--build", tmp_path], check=True, capture_output=True)
    done = run(tmp_path / "player", SAMPLE, "0", tmp_path / "mask.pgm")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_library_that_is_older_than_the_package(
    capi: Path, loaded: Path, hashes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was built before the newest functions existed, and works on."""
    older = functions()[:11]
    monkeypatch.setattr(declarations, "functions", lambda: older)
    build(tmp_path, version=__version__)
    done = subprocess.run(
        ["nm", "-D", "--defined-only", tmp_path / LIBRARY], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 11
    assert_ok(run(loaded, "play", tmp_path / LIBRARY, SAMPLE, hashes[1]))


@pytest.fixture
def copied(capi: Path, tmp_path: Path) -> Path:
    """A library for an environment that can be damaged: it has links to this environment's packages."""
    environment = tmp_path / "env"
    site = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (environment / "bin").mkdir()
    (environment / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    base = Path(sysconfig.get_config_var("BINDIR"))
    (environment / "pyvenv.cfg").write_text(f"home = {base}\ninclude-system-site-packages = false\n")
    for path in Path(np.__file__).parents[1].iterdir():
        if not path.name.startswith(("__editable__", "_alphastream", "alphastream")):
            (site / path.name).symlink_to(path)
    (site / "alphastream_gpu").symlink_to(PACKAGE)
    done = subprocess.run(
        [environment / "bin" / "python", "-m", "alphastream_gpu", "build-capi", "-o", environment / "capi"],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return environment


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["none", "chatter", "package", "requirement", "interpreter", "code"])
def test_a_damaged_environment(copied: Path, capi: Path, loaded: Path, hashes: tuple[Path, Path], damage: str) -> None:
    """CV_create returns null after one line that names what is missing."""
    site = next(copied.glob("lib/python*/site-packages"))
    expected = ""
    if damage == "chatter":
        (site / "noise.pth").write_text("import nonexistent_thing\nimport sys; sys.stderr.write('x'); print('y')\n")
        (site / "sitecustomize.py").write_text("print('z')\n1 / 0\n")
    elif damage == "package":
        (site / "numpy").unlink()
        expected = f"missing: {site}/numpy/__init__.py"
    elif damage == "requirement":  # httpx imports it when it connects
        (site / "h11").unlink()
        expected = f"missing: {site}/h11/__init__.py"
    elif damage == "interpreter":
        (copied / "bin" / "python").unlink()
        expected = f"missing: {copied}/bin/python"
    elif damage == "code":
        (site / "alphastream_gpu").unlink()
        shutil.copytree(PACKAGE, site / "alphastream_gpu")
        (site / "alphastream_gpu" / "_stream/stream.py").write_text("1 / 0\n# a traceback would have lines\n")
        expected = "the environment is incomplete: division by zero"
    done = run(loaded, "play", copied / "capi" / LIBRARY, SAMPLE, hashes[1])
    if damage in ("none", "chatter"):
        assert_ok(done)
        return
    said, *rest = done.stderr.splitlines()
    assert said.startswith(f"libalphastream: {expected}")
    assert said.endswith(f"; built for {copied}/bin/python")
    assert [line for line in rest if "not true: handle" not in line] == []


def test_no_file_descriptors(capi: Path, loaded: Path, hashes: tuple[Path, Path]) -> None:
    """One line is printed, not the traceback of an interpreter that cannot read its code."""
    limited = 'ulimit -n 5; exec "$@"'
    done = run("/bin/sh", "-c", limited, "sh", loaded, "play", capi / LIBRARY, SAMPLE, hashes[1])
    said, check = done.stderr.splitlines()
    assert said.startswith("libalphastream: no file can be opened: Too many open files; built for ")
    assert "not true: handle" in check


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the library is built on Linux alone")
def test_missing_build_requirements_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If this Python can be embedded. Otherwise that error comes first."""
    for variables, message in (
        ({"CC": "/nowhere/cc"}, "no C compiler; on Debian or Ubuntu: apt-get install gcc libc6-dev"),
        ({"CC": "false"}, "compiling libalphastream.so failed"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "alphastream_gpu", "build-capi", "-o", tmp_path / "out"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out" / LIBRARY).exists()
        if re.search("has no shared library|Python.h is missing", done.stderr):
            skip_or_fail(done.stderr.strip())
        if variables["CC"] == "false":
            need("cc", "apt-get install gcc libc6-dev")
        assert done.stderr.startswith(f"alphastream: {message}")
