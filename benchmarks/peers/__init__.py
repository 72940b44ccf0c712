"""One file for each library that skmoe is measured against.

A file has ``available()``, which returns None or the reason why the library cannot run,
and one or more ``race...(start)``, which climb the objective of skmoe from a given start and
return a `Trajectory`, or ``models(n_experts)``, which returns estimators of its own and
a ``TASK``.
"""
