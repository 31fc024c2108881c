"""
Sources in a forked child, and sources and streams that are opened after the interpreter began to end.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from badserver import Server
from support import ROOT, SAMPLE

SCRIPT = """
import asyncio, atexit, os, sys, threading
import alphastream_gpu
from alphastream_gpu import ByteRange, Config, FileSource, HttpSource

url, path = sys.argv[1:3]
config = Config(http_retries=0)

def read(source):
    async def run():
        try:
            return len(await source.read(ByteRange(0, 9)))
        finally:
            await source.aclose()
    return asyncio.run(run())

def open_async(source):
    async def run():
        await (await alphastream_gpu.open_async(source, config=config)).aclose()
    asyncio.run(run())

def opened(source):
    with alphastream_gpu.open(source, config=config) as stream:
        return stream.read_frame(60) is not None

def said(function, *given):
    try:
        found = function(*given)
    except BaseException as exc:
        chained = [type(one).__name__ for one in (exc.__cause__, exc.__context__) if one is not None]
        found = f"{type(exc).__name__}: {exc} {chained or ''}".strip()
    print(found, flush=True)

def in_child(function, *given):
    pid = os.fork()
    if pid == 0:
        said(function, *given)
        os._exit(0)
    os.waitpid(pid, 0)

"""


def lines_of(script: str) -> list[str]:
    with Server(SAMPLE.read_bytes()) as server:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT + script, server.url("/x.asvp?sig=S3CRET"), str(SAMPLE)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=ROOT,
        )
    assert "S3CRET" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


AT_END = "ClosedError: the interpreter is ending, and streams are closed: open and read them before the program ends"


@pytest.mark.slow
@pytest.mark.parametrize("source", ["url", "path", "lambda: url", "HttpSource(url)", "FileSource(path)"])
@pytest.mark.parametrize("when", ["atexit", "thread"])
def test_opening_while_the_interpreter_ends(source: str, when: str) -> None:
    lines = lines_of(f"""
def late():
    for function in (alphastream_gpu.open, open_async):
        said(function, {source})

if {when!r} == "atexit":
    atexit.register(late)
else:
    def wait():
        threading.main_thread().join()
        late()
    threading.Thread(target=wait).start()
""")
    assert lines == [AT_END, AT_END]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["url", "lambda: url"])
def test_reading_while_the_interpreter_ends(source: str) -> None:
    assert lines_of(f"atexit.register(said, read, HttpSource({source}))") == [AT_END]


@pytest.mark.slow
def test_a_source_that_was_made_before_the_interpreter_ends() -> None:
    """Only its first read needs a thread. Later reads work, unless they look a name up."""
    lines = lines_of("""
loop = asyncio.new_event_loop()
source = HttpSource(url)
loop.run_until_complete(source.read(ByteRange(0, 9)))
atexit.register(lambda: said(lambda: len(loop.run_until_complete(source.read(ByteRange(9, 20))))))
""")
    assert lines[0] in ("11", AT_END)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.parametrize("kind", ["HttpSource(url)", "FileSource(path)"])
def test_a_source_that_no_one_read_before_a_fork_works_in_the_child(kind: str) -> None:
    lines = lines_of(f"""
source = {kind}
in_child(opened, source)
in_child(read, source)
said(opened, source)
""")
    assert lines == ["True", "9", "True"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_an_http_source_that_was_read_before_a_fork() -> None:
    refusal = "ClosedError: 'x.asvp': the source was opened before a fork; open it again in the child"
    lines = lines_of("""
source = HttpSource(url)
stream = alphastream_gpu.open(source)
in_child(opened, source)
in_child(read, source)
in_child(open_async, source)
in_child(opened, HttpSource(url))
print(stream.read_frame(100) is not None)
stream.close()
""")
    assert lines == [refusal, refusal, refusal, "True", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_a_file_source_that_was_read_before_a_fork_works_in_the_child() -> None:
    lines = lines_of("""
source = FileSource(path)
stream = alphastream_gpu.open(source)
stream.read_frame(50)
in_child(opened, source)
print(stream.read_frame(100) is not None)
stream.close()
""")
    assert lines == ["True", "True"]
