"""Signals, forks, ends of programs and engines side by side; each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.faults.programs import BEGIN, succeeds

posix = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals and forks as POSIX has them")


@posix
class TestSignals:
    @pytest.mark.parametrize(
        "work",
        [
            "sam.encode(image)",
            "sam.encode([image] * 4)",
            "sam.predict(embedding, boxes=[BOX] * 8)",
            "sam.segment_everything(embedding, points_per_side=8)",
            "tracker.step(image)",
        ],
    )
    def test_an_interrupt_ends_the_call_and_leaves_the_model(self, work: str) -> None:
        """Ctrl-C at six moments; between two of them the model says what it always said."""
        code = f"""
import random, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
sam = evsam.load("nano", threads=2)
embedding, expected = sam.encode(image), answer(sam)
tracker = sam.track(image, box=BOX)
{work}
chance = random.Random(0)
for _ in range(6):
    threading.Timer(chance.uniform(0.002, 0.03), os.kill, (os.getpid(), signal.SIGINT)).start()
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < 60:
            {work}
        sys.exit("was not interrupted")
    except KeyboardInterrupt:
        pass
    assert time.monotonic() - begin < 30
    assert tracker.ids == (1,)
assert same(answer(sam), expected)
"""
        succeeds(code)

    def test_a_handler_of_ones_own_runs_and_the_call_goes_on(self) -> None:
        succeeds("""
import signal
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
sam = evsam.load("nano", threads=2)
expected = answer(sam)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for _ in range(10):
    assert same(answer(sam), expected)
signal.setitimer(signal.ITIMER_REAL, 0)
assert seen
""")

    def test_a_killed_worker_leaves_the_others(self) -> None:
        """A pool of processes that loses one says so, and the next pool works on the same model's file."""
        succeeds("""
import concurrent.futures, multiprocessing, signal
from concurrent.futures.process import BrokenProcessPool

def load():
    global sam
    sam = evsam.load("nano", threads=1)

def area(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(answer(sam).masks.sum())

def pool():
    context = multiprocessing.get_context("fork")
    return concurrent.futures.ProcessPoolExecutor(2, mp_context=context, initializer=load)

with pool() as workers:
    futures = [workers.submit(area, number) for number in range(6)]
    try:
        for future in futures:
            future.result()
        sys.exit("nobody noticed")
    except BrokenProcessPool:
        pass
with pool() as workers:
    areas = set(workers.map(area, [0, 1, 2]))
load()
assert areas == {int(answer(sam).masks.sum())}
""")


@posix
class TestForks:
    def test_children_of_a_loaded_model_use_it(self) -> None:
        """The usual way to share weights: load, then fork. The threads of the parent are not in the children."""
        succeeds("""
import multiprocessing
sam = evsam.load("nano", threads=2)
expected = answer(sam)

def child(number):
    return same(answer(sam), expected)

with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.map(child, range(6)) == [True] * 6
assert same(answer(sam), expected)
""")

    def test_forks_while_other_threads_compute(self) -> None:
        """Whatever the other threads hold at that moment, a child computes."""
        succeeds(
            """
import signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, of any fork beside threads
sam = evsam.load("nano", threads=2)
embedding, expected = sam.encode(image), answer(sam)
ended = threading.Event()

def work(call):
    while not ended.is_set():
        call()

calls = (
    lambda: answer(sam),
    lambda: sam.predict(embedding, points=[(150, 120)]),
    lambda: sam.segment_everything(embedding, points_per_side=4),
)
threads = [threading.Thread(target=work, args=(call,)) for call in calls]
for thread in threads:
    thread.start()
codes = []
for number in range(12):
    time.sleep(0.003 * (number % 7))
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a child that waits for a lock for ever is killed by it
        os._exit(0 if same(answer(sam), expected) else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ended.set()
for thread in threads:
    thread.join()
assert codes == [0] * 12, codes
"""
        )


class TestEndOfTheProgram:
    """Threads are in the middle of something when the main thread ends: the program does, at once and in silence."""

    def test_daemon_threads(self) -> None:
        """Python unwinds threads that come back to it then, which must not meet a destructor that forbids it."""
        for call in ("answer(sam)", "sam.segment_everything(embedding, points_per_side=8)", "tracker.step(image)"):
            succeeds(f"""
sam = evsam.load("nano", threads=2)
embedding, tracker = sam.encode(image), sam.track(image, box=BOX)

def loop():
    while True:
        {call}

for _ in range(3):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.2)
""")

    def test_streams_that_nobody_closed(self) -> None:
        succeeds("""
sam = evsam.load("nano", threads=2)
streams = [evsam.Stream(sam, sam.track(image, box=BOX)), evsam.Stream(sam, lambda e: sam.predict(e, box=BOX))]
for stream in streams:
    stream.put(image)
""")

    def test_pools_of_threads_with_work_left(self) -> None:
        out = succeeds("""
from concurrent.futures import ThreadPoolExecutor
sam = evsam.load("nano", threads=2)
pool = ThreadPoolExecutor(3)
futures = [pool.submit(answer, sam) for _ in range(6)]
futures[-1].add_done_callback(lambda future: print(future.result().masks.shape, flush=True))
""")
        assert out == "(1, 1, 240, 320)\n", "Python waits for what executors were given"

    def test_threads_that_outlive_the_main_one(self) -> None:
        out = succeeds("""
sam = evsam.load("nano", threads=2)

def late():
    time.sleep(0.2)
    print(answer(sam).masks.shape)

threading.Thread(target=late).start()
""")
        assert out == "(1, 1, 240, 320)\n"

    @posix
    def test_sigterm_in_the_middle(self) -> None:
        code = BEGIN + 'sam = evsam.load("nano", threads=2)\nprint("ready", flush=True)\nwhile True: answer(sam)'
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.1)
            process.terminate()
            assert process.wait(30) == -signal.SIGTERM


def test_engines_side_by_side() -> None:
    """Native, in two precisions, and PyTorch in one process, at one time, with threads of their own."""
    pytest.importorskip("torch")
    out = succeeds(
        """
import torch
torch.set_num_threads(2)
sams = [
    evsam.load("nano", threads=2), evsam.load("nano", engine="torch", threads=2),
    evsam.load("nano", threads=1, precision="int8"), evsam.load("nano", threads=2),
]
alone = [answer(sam) for sam in sams]
assert same(alone[0], alone[3])
for other in alone[1:]:
    union = (alone[0].masks | other.masks).sum()
    assert (alone[0].masks & other.masks).sum() > 0.95 * union
wrong = []

def work(number):
    for _ in range(2):
        again = answer(sams[number])
        close = np.abs(again.logits - alone[number].logits).max()
        if close > (1e-3 if number == 1 else 0):
            wrong.append((number, close))

threads = [threading.Thread(target=work, args=(number,)) for number in range(len(sams))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong
sams[0].close()
assert same(answer(sams[3]), alone[3])
# an embedding goes from one engine to the other
assert np.abs(sams[1].predict(sams[3].encode(image), box=BOX).logits - alone[1].logits).max() < 1e-2
print("done")
"""
    )
    assert out == "done\n"
