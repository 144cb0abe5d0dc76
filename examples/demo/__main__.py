"""Ferryman at work, in half a minute: run it with ``python examples/demo``.

It indexes this Python's standard library, one job a file, with real failures, a timeout, a delayed job, and a
worker process that is killed halfway. At the end it checks that every file was counted exactly once.
Nothing is needed but ``pip install 'ferryman[embedded]'``, and nothing is left behind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from screen import Moment, Screen

if TYPE_CHECKING:
    from fleet import Fleet, Killed
    from indexer import Summary

    from ferryman import Job

DELAY_S = 5.0
LIMIT_S = 240.0
RED, GREEN = "bold red", "bold green"


def main() -> int:
    """Run the demo; 0 if every check holds."""
    parser = argparse.ArgumentParser(
        prog="python examples/demo", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--files", type=int, default=2000, help="index at most so many files (2000)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live display")
    parser.add_argument("--keep", action="store_true", help="keep the jobs afterwards, to look at them")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ferryman-demo-"))
    os.environ.update(
        FERRYMAN_URL=f"embedded://{folder}/store",
        FERRYMAN_DEMO_OUT=f"{folder}/index",
        FERRYMAN_LEASE_S="4",  # the workers say every second what they do, instead of every four
    )
    for name in ("index/shards", "index/runs"):
        (folder / name).mkdir(parents=True)
    try:
        return Demo(folder, chosen.files, chosen.processes, chosen.plain).run(keep=chosen.keep)
    except KeyboardInterrupt:
        print("stopped")
        return 130
    except RuntimeError as error:
        print(f"The demo could not go on: {error}")
        return 1
    finally:
        if not chosen.keep:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)


class Demo:
    """The story, from the first job to the last check."""

    def __init__(self, folder: Path, most: int, processes: int, plain: bool) -> None:
        import indexer  # after the environment says where its jobs are kept
        from fleet import Fleet

        self.folder = folder
        self.most = most
        self.app = indexer.app
        self.tasks = indexer
        self.fleet: Fleet = Fleet(self.app, processes, 2, folder / "workers.log")
        self.screen = Screen(plain=plain)
        self.began = time.monotonic()
        self.submitted = 0
        self.history: list[tuple[float, int]] = []
        self.killed: Killed | None = None
        self.replaced = False

    def run(self, *, keep: bool) -> int:
        """Everything; gives the exit code."""
        try:
            with self.screen:
                files = self.hand_over()
                self.fleet.start()
                self.screen.say(f"started: {self.fleet.command}")
                self.follow(until=0.35)
                riddle = self.tasks.closest_names.enqueue()
                self.submitted += 1
                self.screen.say(
                    "closest_names() has 1 s, and its first attempt takes minutes: it jumps the line"
                )
                self.follow(until=0.5)
                self.kill()
                self.follow(until=1.0)
                summary_job = self.tasks.merge.enqueue()
                self.screen.say("all files are through; the last job adds up: merge()")
                summary = summary_job.result(timeout=60)
            return self.close(files, riddle, summary, keep=keep)
        finally:
            self.fleet.stop()
            server = self.app.store.address.running_server()
            self.app.close()
            server.close(wait=10)  # it stops with its last user; its folder is removed after that

    def hand_over(self) -> list[Path]:
        """Find the files and enqueue a job for each, before any worker runs."""
        import sources

        version = self.app.store.pool.command("INFO", "server").decode()
        name = "Valkey" if "valkey_version" in version else "Redis"
        self.screen.say(f"{name} runs from a wheel, its data in {self.folder}/store")
        files, made = sources.find(self.most, self.folder / "broken")
        if made:
            self.screen.say(
                f"{len(made)} files that do not parse were made, since this Python brings too few"
            )
        files += made
        start = time.monotonic()
        self.tasks.index_file.enqueue_many([(str(path),) for path in files])
        took_ms = (time.monotonic() - start) * 1000
        self.screen.say(f"{len(files):,} files of this Python, one job each, handed over in {took_ms:.0f} ms")
        due = time.time() + DELAY_S
        self.late: Job[float] = self.tasks.look_at_the_clock.options(delay=DELAY_S).enqueue(due)
        self.submitted = len(files)
        return files

    def follow(self, until: float) -> None:
        """Show what happens until that share of the jobs is through; 1.0: until nothing is left."""
        queue = self.app.queue("index")
        notes, noted_at = self.fleet.workers(), time.monotonic()
        while True:
            self.fleet.check()
            info = queue.info()
            if time.monotonic() - noted_at > 0.4:
                notes, noted_at = self.fleet.workers(), time.monotonic()
            moment = Moment(self.submitted, info, 0.0, notes)
            moment.per_s = self.rate(moment.done)
            self.screen.show(moment)
            self.look_for_the_successor()
            left = info.queued + info.scheduled + info.running
            through = not left and (self.killed is None or self.replaced)
            if through or (until < 1 and moment.done >= until * self.submitted):
                return
            if time.monotonic() - self.began > LIMIT_S:
                raise RuntimeError(f"{left} jobs are not done after {LIMIT_S:.0f} s; see the workers' log")
            time.sleep(0.1)

    def rate(self, done: int) -> float:
        """Jobs a second over the last two seconds."""
        now = time.monotonic()
        self.history = [(at, count) for at, count in self.history if now - at < 2] + [(now, done)]
        first_at, first = self.history[0]
        return (done - first) / (now - first_at) if now > first_at else 0.0

    def kill(self) -> None:
        """Kill a worker process in the middle of its work."""
        self.killed = self.fleet.kill_one(
            lambda pid, held: self.screen.say(
                f"kill -9 {pid}: a worker process with {held} jobs in its hands", RED
            )
        )
        if self.killed is None:
            self.screen.say("no worker has said who it is, so none is killed", RED)
        else:
            self.screen.say(f"they were back in the queue {self.killed.given_back_ms:.0f} ms later", GREEN)

    def look_for_the_successor(self) -> None:
        """Say once when a new process has taken the place of the killed one."""
        if self.killed is not None and not self.replaced and self.fleet.alive() - self.killed.known:
            self.replaced = True
            took_ms = (time.monotonic() - self.killed.at) * 1000
            self.screen.say(f"a new process was at work {took_ms:.0f} ms after the kill", GREEN)

    def close(self, files: list[Path], riddle: Job[list[str]], summary: Summary, *, keep: bool) -> int:
        """The summary, the checks, and what to type next."""
        import check

        took = time.monotonic() - self.began
        top = ", ".join(f"{name} {count:,}" for name, count in summary["top"])
        began, again = check.repeated()
        failed = [f"{one.outcome} after {one.duration_ms / 1000:.1f} s" for one in riddle.info().attempts]
        late_ms = self.late.result(timeout=5) * 1000
        counted = f"{summary['files']:,} files, {summary['lines']:,} lines, {summary['names']:,} names"
        for line in (
            "",
            f"{counted} in {took:.0f} s",
            f"The names used most: {top}",
            f"closest_names(): {', '.join([*failed, 'then'])}: {' and '.join(riddle.result(timeout=5))}",
            f"The job delayed by {DELAY_S:.0f} s began {late_ms:.0f} ms after its time, past all that waited",
            f"index_file() began {began:,} times; {again} were retries and what the kill had cut off",
            "",
            "$ ferryman failures",
        ):
            print(line)
        subprocess.run([sys.executable, "-m", "ferryman", "failures"], check=False)
        code = self.fleet.stop()
        found = check.checks(self.app, files, summary)
        found.append((self.killed is not None and self.replaced, "a worker was killed, and nothing was lost"))
        found.append((code == 0, f"the fleet stopped in good order (exit code {code})"))
        print("\nChecked:")
        for holds, sentence in found:
            print(f"  {'ok  ' if holds else 'FAIL'} {sentence}")
        self.say_what_is_next(keep=keep)
        return 0 if all(holds for holds, _ in found) else 1

    def say_what_is_next(self, *, keep: bool) -> None:
        """For the curious."""
        steps = [("examples/demo/indexer.py", "the tasks: 100 lines"), ("ferryman dev MODULE", "your own")]
        if keep:
            steps.insert(0, ("ferryman job ID", "one dead letter, with its traceback"))
            steps.insert(0, (f"export FERRYMAN_URL=embedded://{self.folder}/store", ""))
        else:
            steps.insert(0, ("python examples/demo --keep", "the same, and the jobs stay to be looked at"))
        print("\nNext:")
        for step, why in steps:
            print(f"  {step:<32} {why}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
