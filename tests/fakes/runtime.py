"""A runtime in memory with the true semantics of the port, and knobs for misbehaviour.

A run's state is a function of the clock and of what was asked, so it needs no tasks of
its own and works with a clock that jumps: give ``now`` and call ``tick`` after moving it.
It passes the same contract tests as the real one and must never be kinder than it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cmbcluster.domain.lifecycle import Stage, StopReason
from cmbcluster.domain.views import ProtectionView, UsageView
from cmbcluster.errors import Conflict, RuntimeUnavailable
from cmbcluster.runtime.port import Ending, Endpoint, LogLine, Observation, Packages, Ref, Sight, Spec, StageMark

OVER = frozenset({Sight.ABSENT, Sight.EXITED})
PROTECTION = ProtectionView(level="own-network", limits_by="cgroup", missing="", mend="")


@dataclass(frozen=True)
class Behaviour:
    """How the runs of one environment go. Seconds are those of the runtime's clock.

    ``builds_for_seconds``   time in BUILDING (0: the build is cached, the sight is skipped)
    ``starts_for_seconds``   time between the process and its first answer
    ``stops_for_seconds``    time in STOPPING
    ``build_fails``          ends after its build with BUILD_FAILED
    ``start_fails``          ends instead of getting a process, with START_FAILED
    ``exits_with``           the program exits at once with this code instead of answering
    ``never_ready``          the health path never answers: NEVER_READY after the program's own limit
    ``runs_for_seconds``     the program exits by itself after running so long
    ``dies_after_create``    ``start`` makes the run and then raises RuntimeUnavailable
    """

    builds_for_seconds: float = 0.0
    starts_for_seconds: float = 0.0
    stops_for_seconds: float = 0.0
    build_fails: bool = False
    start_fails: bool = False
    exits_with: int | None = None
    never_ready: bool = False
    runs_for_seconds: float | None = None
    dies_after_create: bool = False


@dataclass
class _Run:
    spec: Spec
    behaviour: Behaviour
    port: int
    asked_at: datetime
    stop_asked_at: datetime | None = None
    killed: Ending | None = None
    lines: list[tuple[datetime, str]] = field(default_factory=list)
    told: Sight | None = None

    def after(self, *seconds: float) -> datetime:
        return self.asked_at + timedelta(seconds=sum(seconds))


@dataclass
class FakeRuntime:
    """Runtime and Insight in memory.

    ``behaviour`` is for every new run, ``behaviours[slug]`` for one environment's. While
    ``unavailable`` is set every call raises RuntimeUnavailable; environments in
    ``unseen`` are UNKNOWN to ``look``; sights in ``lies[slug]`` are what ``observe``
    tells instead of the truth (``look`` never lies). ``starts`` and ``stops`` record the
    calls that did something; ``most_at_once`` the most processes an environment ever had.
    """

    behaviour: Behaviour = field(default_factory=Behaviour)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    unavailable: bool = False
    unseen: set[str] = field(default_factory=set)
    lies: dict[str, Sight] = field(default_factory=dict)
    starts: list[Spec] = field(default_factory=list)
    stops: list[Ref] = field(default_factory=list)
    removed: list[tuple[Ref, bool]] = field(default_factory=list)
    workspaces: dict[str, int] = field(default_factory=dict)
    most_at_once: dict[UUID, int] = field(default_factory=dict)
    _runs: dict[tuple[str, int], _Run] = field(default_factory=dict)
    _listeners: set[asyncio.Queue[Observation]] = field(default_factory=set)
    _next_port: int = 40000

    runs_images: bool = True
    heard: dict[Ref, datetime] = field(default_factory=dict)

    def heard_running(self, ref: Ref) -> datetime | None:
        """What the test says was heard."""
        return self.heard.get(ref)

    async def open(self) -> None:
        """Nothing to adopt: the runs are in this object."""

    async def close(self) -> None:
        """Detaches; runs go on, as with the real one."""

    async def start(self, spec: Spec) -> None:
        self._check()
        ref = spec.ref
        run = self._runs.get((ref.slug, ref.generation))
        if run is None:
            self._refuse_a_second_generation(ref)
            behaviour = self.behaviours.get(ref.slug, self.behaviour)
            self._next_port += 1
            run = _Run(spec=spec, behaviour=behaviour, port=self._next_port, asked_at=self.now())
            run.lines.append((run.asked_at, f"starting {next(iter(spec.program.command), 'the image')}"))
            self._runs[ref.slug, ref.generation] = run
            self.workspaces.setdefault(ref.slug, 4096)
            self.starts.append(spec)
            self._schedule(run)
            self.tick()
        if run.behaviour.dies_after_create:
            run.behaviour = replace(run.behaviour, dies_after_create=False)
            raise RuntimeUnavailable("The runtime stopped answering.")

    async def stop(self, ref: Ref) -> None:
        self._check()
        run = self._runs.get((ref.slug, ref.generation))
        if run is None or run.stop_asked_at is not None or self._state(run)[0] is Sight.EXITED:
            return
        run.stop_asked_at = self.now()
        self.stops.append(ref)
        self._schedule(run)
        self.tick()

    async def remove(self, ref: Ref, *, workspace: bool) -> None:
        self._check()
        mine = [run for (slug, _), run in self._runs.items() if slug == ref.slug]
        if any(self._state(run)[0] is not Sight.EXITED for run in mine):
            raise Conflict("It still runs.", "Stop it first.")
        for run in mine:
            del self._runs[run.spec.ref.slug, run.spec.ref.generation]
            self._tell(self._absent(run.spec.ref))
        if workspace:
            self.workspaces.pop(ref.slug, None)
        self.removed.append((ref, workspace))

    async def look(self, ref: Ref) -> Observation:
        self._check()
        if ref.slug in self.unseen:
            return Observation(ref=ref, sight=Sight.UNKNOWN, seen_at=self.now())
        run = self._runs.get((ref.slug, ref.generation))
        return self._absent(ref) if run is None else self._observation(run)

    async def observe(self) -> AsyncIterator[Observation]:
        queue: asyncio.Queue[Observation] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            newest: dict[str, _Run] = {}
            for run in sorted(self._runs.values(), key=lambda each: each.spec.ref.generation):
                newest[run.spec.ref.slug] = run
            for run in newest.values():
                yield self._as_told(self._observation(run))
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    async def logs(self, ref: Ref, *, offset: int, follow: bool) -> AsyncIterator[LogLine]:
        self._check()
        end, index = 0, 0
        run = self._runs.get((ref.slug, ref.generation))
        total = 0 if run is None else sum(len(text.encode()) + 1 for _, text in run.lines)
        begin = max(0, total + offset) if offset < 0 else offset
        while run is not None:
            self.tick()
            for at, text in run.lines[index:]:
                index += 1
                end += len(text.encode()) + 1
                if end > begin:
                    yield LogLine(at=at, text=text, offset=end)
            if not follow or self._state(run)[0] is Sight.EXITED:
                return
            await asyncio.sleep(0.02)

    async def usage(self, ref: Ref) -> UsageView | None:
        self._check()
        run = self._runs.get((ref.slug, ref.generation))
        if run is None or self._state(run)[0] not in (Sight.STARTING, Sight.RUNNING, Sight.STOPPING):
            return None
        return UsageView(
            measured_at=self.now(), cpu_millis=120.0, memory_bytes=64 * 1024**2, processes=3,
            received_bytes=2048, sent_bytes=1024,
        )  # fmt: skip

    async def workspace_bytes(self, ref: Ref) -> int | None:
        return self.workspaces.get(ref.slug)

    def processes(self, environment_id: UUID) -> int:
        """How many processes the environment has now. Never more than one, or a test fails."""
        alive = (Sight.STARTING, Sight.RUNNING, Sight.STOPPING)
        return sum(
            1
            for run in self._runs.values()
            if run.spec.ref.environment_id == environment_id and self._state(run)[0] in alive
        )

    def end(self, ref: Ref, reason: StopReason = StopReason.EXITED, exit_code: int = 1) -> None:
        """The program ends by itself now, as after a crash or when memory ran out."""
        run = self._runs[ref.slug, ref.generation]
        run.killed = self._ending(run, reason, "It ended by itself.", self.now(), exit_code)
        self.tick()

    def live(self) -> tuple[Ref, ...]:
        """Runs that have or are about to have a process: everything that is not over."""
        return tuple(run.spec.ref for run in self._runs.values() if self._state(run)[0] not in OVER)

    def lose(self, ref: Ref) -> None:
        """Every trace of the run vanishes behind our back."""
        self._runs.pop((ref.slug, ref.generation), None)
        self._tell(self._absent(ref))

    def tick(self) -> None:
        """Tells observers what changed since the last look at the clock."""
        for run in list(self._runs.values()):
            environment_id = run.spec.ref.environment_id
            running = self.processes(environment_id)
            self.most_at_once[environment_id] = max(self.most_at_once.get(environment_id, 0), running)
            sight = self._state(run)[0]
            if sight is not run.told:
                run.told = sight
                run.lines.append((self.now(), f"now {sight}"))
                self._tell(self._observation(run))

    def _check(self) -> None:
        if self.unavailable:
            raise RuntimeUnavailable("The runtime does not answer.")

    def _refuse_a_second_generation(self, ref: Ref) -> None:
        for (slug, generation), run in self._runs.items():
            if slug != ref.slug:
                continue
            if generation > ref.generation:
                raise Conflict("A newer run of this environment exists.", "Look again.")
            if self._state(run)[0] is not Sight.EXITED:
                raise Conflict("An earlier run of this environment has not ended.", "Stop it first.")

    def _schedule(self, run: _Run) -> None:
        """Rings observers at every moment at which the run changes (real clock only)."""
        how = run.behaviour
        loop = asyncio.get_running_loop()
        begun = how.builds_for_seconds + how.starts_for_seconds
        moments = {how.builds_for_seconds, begun, how.stops_for_seconds}
        if how.runs_for_seconds is not None:
            moments.add(begun + how.runs_for_seconds)
        if how.never_ready:
            moments.add(how.builds_for_seconds + run.spec.program.ready_within_seconds)
        for moment in moments:
            if 0 < moment < 3600:
                loop.call_later(moment + 0.001, self.tick)

    def _natural(self, run: _Run, at: datetime) -> tuple[Sight, Ending | None]:
        """What the run is at ``at`` if nobody interfered."""
        how, limit = run.behaviour, run.spec.program.ready_within_seconds
        built = run.after(how.builds_for_seconds)
        ready = run.after(how.builds_for_seconds, how.starts_for_seconds)
        if at < built:
            return Sight.BUILDING, None
        if how.build_fails:
            what = "The packages could not be installed."
            return Sight.EXITED, self._ending(run, StopReason.BUILD_FAILED, what, built)
        if how.start_fails:
            return Sight.EXITED, self._ending(run, StopReason.START_FAILED, "It could not be started.", built)
        if how.never_ready:
            given_up = run.after(how.builds_for_seconds, limit)
            what = f"It started, but nothing answered on port {run.spec.program.port} within {limit} s."
            never = self._ending(run, StopReason.NEVER_READY, what, given_up)
            return (Sight.STARTING, None) if at < given_up else (Sight.EXITED, never)
        if at < ready:
            return Sight.STARTING, None
        if how.exits_with is not None:
            what = f"It ended by itself with code {how.exits_with}."
            return Sight.EXITED, self._ending(run, StopReason.EXITED, what, ready, how.exits_with)
        if how.runs_for_seconds is not None and at >= ready + timedelta(seconds=how.runs_for_seconds):
            ended = ready + timedelta(seconds=how.runs_for_seconds)
            return Sight.EXITED, self._ending(run, StopReason.EXITED, "It ended by itself with code 0.", ended, 0)
        return Sight.RUNNING, None

    def _state(self, run: _Run) -> tuple[Sight, Ending | None]:
        if run.killed is not None:
            return Sight.EXITED, run.killed
        asked = run.stop_asked_at
        if asked is None:
            return self._natural(run, self.now())
        sight, ending = self._natural(run, asked)
        if sight is Sight.EXITED:
            return sight, ending
        if sight is Sight.BUILDING:
            return Sight.EXITED, self._ending(run, StopReason.CANCELLED, "It was stopped while it was built.", asked)
        gone = asked + timedelta(seconds=run.behaviour.stops_for_seconds)
        if self.now() < gone:
            return Sight.STOPPING, None
        return Sight.EXITED, self._ending(run, StopReason.ASKED, "It was stopped.", gone, 0)

    def _ending(self, run: _Run, reason: StopReason, what: str, at: datetime, exit_code: int | None = None) -> Ending:
        tail = "\n".join(text for _, text in run.lines[-20:])
        return Ending(
            reason=reason, what=what, then="See the last lines of its log.", log_tail=tail, exit_code=exit_code,
            ended_at=at,
        )  # fmt: skip

    def _observation(self, run: _Run) -> Observation:
        sight, ending = self._state(run)
        alive = sight in (Sight.STARTING, Sight.RUNNING, Sight.STOPPING)
        endpoint = Endpoint("127.0.0.1", run.port) if sight in (Sight.STARTING, Sight.RUNNING) else None
        return Observation(
            ref=run.spec.ref, sight=sight, seen_at=self.now(), endpoint=endpoint, stages=self._stages(run),
            protection=PROTECTION if alive else None, ending=ending,
        )  # fmt: skip

    def _stages(self, run: _Run) -> tuple[StageMark, ...]:
        how, now = run.behaviour, self.now()
        built = run.after(how.builds_for_seconds)
        ready = run.after(how.builds_for_seconds, how.starts_for_seconds)
        marks: list[StageMark] = []
        if how.builds_for_seconds:
            done = built if now >= built else None
            marks.append(StageMark(Stage.DOWNLOADING, run.asked_at, done, done=1024, unit="bytes"))
            if done is not None:
                content = run.spec.content
                packages = content.lock.packages if isinstance(content, Packages) else 0
                marks.append(
                    StageMark(Stage.INSTALLING, built, built, packages, packages, "packages", failed=how.build_fails)
                )
        if now >= built and not how.build_fails:
            marks.append(StageMark(Stage.STARTING, built, built, failed=how.start_fails))
            if not how.start_fails:
                answered = now >= ready and not how.never_ready and how.exits_with is None
                marks.append(StageMark(Stage.PORT, built, ready if answered else None))
        return tuple(marks)

    def _absent(self, ref: Ref) -> Observation:
        return Observation(ref=ref, sight=Sight.ABSENT, seen_at=self.now())

    def _as_told(self, seen: Observation) -> Observation:
        lie = self.lies.get(seen.ref.slug)
        return seen if lie is None else replace(seen, sight=lie, endpoint=None, ending=None)

    def _tell(self, seen: Observation) -> None:
        for queue in self._listeners:
            queue.put_nowait(self._as_told(seen))
