"""How many threads do the next steps: fewer where another process keeps a core busy.

Threads that train one network wait for each other several times in a step, so all are as slow as one that has to share
its core. Where they wait long, fewer are tried, and the number that takes more steps in a second is kept: waits alone
do not tell a busy core from a slow one. Which threads do the work changes no bit of a result.
"""

SECONDS_OF_A_TRIAL = 0.03
"""Threads are watched for at least this long: several times as long as one process has a core."""

SECONDS_OF_A_CALL = 0.1
"""Steps are taken for about this long before Python chooses again, and looks whether Ctrl-C was pressed."""

WORTH_MORE = 1.05
"""More threads are kept only if they take this many times as many steps as fewer do."""

LONG_WAITS = 1.2
"""Fewer threads are tried where those at work do less than this many times what fewer could."""

CHANGED = 0.8
"""Another number is tried soon where the threads take less than this part of the steps that they took."""

FIRST_REST, LONGEST_REST = 0.05, 8.0
"""Seconds until another number is tried; doubled each time that it is not kept."""


class ThreadChoice:
    """Chooses the number of threads, up to ``most``, by how many steps they take.

    Attributes
    ----------
    n_threads : int
        For the next steps.
    seconds : float
        How long these steps may take before they are noted.
    """

    def __init__(self, most: int) -> None:
        self.most = self.n_threads = self._kept = most
        self.seconds = SECONDS_OF_A_TRIAL if most > 1 else SECONDS_OF_A_CALL
        self._pace = self._most = 0.0  # steps in a second, of the number that is kept: at last, and at most
        self._rest, self._before_trial, self._fewer_next = FIRST_REST, 0.0, True
        self._watched = self._steps = self._worked = 0.0

    def note(self, steps: float, seconds: float, at_work: float) -> None:
        """Note how long some steps took, and how many threads that never wait would have taken as long."""
        if self.most == 1:
            return
        self._watched, self._steps = self._watched + seconds, self._steps + steps
        self._worked += at_work * seconds
        if self._watched < SECONDS_OF_A_TRIAL:
            return
        pace, at_work = self._steps / self._watched, self._worked / self._watched
        if self.n_threads == self._kept:
            changed = pace < CHANGED * self._most  # at some moment of this watch: the next one is wholly after it
            self._before_trial = 0.0 if changed else self._before_trial - self._watched
            self._pace, self._most = pace, pace if changed else max(pace, self._most)
            if self._before_trial <= 0.0 and not changed:
                self.n_threads = self._other(at_work)
        else:
            self._compare(pace)
        self._watched = self._steps = self._worked = 0.0
        self.seconds = SECONDS_OF_A_CALL if self.n_threads == self._kept else SECONDS_OF_A_TRIAL
        if 0.0 < self._before_trial < self.seconds:
            self.seconds = max(self._before_trial, SECONDS_OF_A_TRIAL)

    def _other(self, at_work: float) -> int:
        """Return the number that is tried next: fewer if those at work wait long, else more if there are more."""
        fewer, more = max(1, self._kept // 2), min(self.most, 2 * self._kept)
        waits = fewer < self._kept and at_work < LONG_WAITS * fewer
        return fewer if waits and (self._fewer_next or more == self._kept) else more

    def _compare(self, pace: float) -> None:
        """Keep the number that has just been tried, or go back to the one before."""
        tried_fewer = self.n_threads < self._kept
        kept = pace * WORTH_MORE >= self._pace if tried_fewer else pace > WORTH_MORE * self._pace
        if kept:
            self._kept, self._pace, self._rest = self.n_threads, pace, FIRST_REST
        else:
            self.n_threads, self._rest = self._kept, min(2 * self._rest, LONGEST_REST)
        self._most, self._before_trial, self._fewer_next = self._pace, self._rest, tried_fewer == kept
