"""For the tests of applications: their jobs without a server, without workers and without waiting.

`attach` gives an app a store of its own in this process, and a `Kit` that runs its jobs when the test says
so; `inline` runs each job at the call that enqueues it. Both run jobs through the code that workers use: the
same encoding, hooks, context, retries and dead letters. Needs ``pip install 'ferryman[testing]'``.
"""

from __future__ import annotations

from ferryman.testing.clock import Clock
from ferryman.testing.kit import Kit, attach, inline
from ferryman.testing.runs import Drained, Run

__all__ = ["Clock", "Drained", "Kit", "Run", "attach", "inline"]
