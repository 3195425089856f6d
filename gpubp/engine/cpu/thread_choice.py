"""How many threads do the next steps: fewer where another process keeps a core busy.

Threads that train one network wait for each other several times in a step, so all are as slow as one that has to share
its core. A thread that waits half of the time could have done the work of two alone. Which threads do the work changes
no bit of a result.
"""

SECONDS_OF_A_TRIAL = 0.03
"""Threads are watched for at least this long: several times as long as one process has a core."""

SECONDS_OF_A_CALL = 0.1
"""Steps are taken for about this long before Python chooses again, and looks whether Ctrl-C was pressed."""

WORTH_MORE = 1.05
"""More threads are kept only if they do this much more work than fewer could."""

FIRST_REST, LONGEST_REST = 0.5, 8.0
"""Seconds before more threads are tried again; doubled each time that they are not kept."""


class ThreadChoice:
    """Chooses the number of threads, up to ``most``, by how much they wait for each other.

    Attributes
    ----------
    n_threads : int
        For the next steps.
    seconds : float
        How long these steps may take before they are noted.
    """

    def __init__(self, most: int) -> None:
        self.most = self.n_threads = most
        self.seconds = SECONDS_OF_A_TRIAL if most > 1 else SECONDS_OF_A_CALL
        self._rest, self._until_trial, self._in_trial = FIRST_REST, 0.0, False
        self._watched, self._worked = 0.0, 0.0

    def note(self, seconds: float, at_work: float) -> None:
        """Note how long some steps took, and how many threads that never wait would have taken as long."""
        if self.most == 1:
            return
        self._watched, self._worked = self._watched + seconds, self._worked + at_work * seconds
        if self._watched < SECONDS_OF_A_TRIAL:
            return
        fewer = max(1, self.n_threads // 2)
        self._until_trial -= self._watched
        if self.n_threads > 1 and self._worked < WORTH_MORE * fewer * self._watched:
            self.n_threads = fewer
            self._rest = min(2 * self._rest, LONGEST_REST) if self._in_trial else FIRST_REST
            self._in_trial, self._until_trial = False, self._rest
        else:
            self._in_trial = self.n_threads < self.most and self._until_trial <= 0.0
            self.n_threads = min(self.most, 2 * self.n_threads) if self._in_trial else self.n_threads
        self._watched = self._worked = 0.0
        self.seconds = SECONDS_OF_A_TRIAL if self._in_trial else SECONDS_OF_A_CALL
